import { Component, type VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Job } from "../models/job";
import type { Piece } from "../state/pieces";
import { JobRow } from "./JobRow";

interface Props {
  piece: Piece;
  index: number;
  /** Those of its jobs that no piece before it has. */
  jobs: Job[];
  picked: Map<string, Job>;
  pick: ((job: Job) => void) | null;
  near: (index: number, isNear: boolean) => void;
}

/** Some rows of a long list. Out of sight it is nothing but its height. */
export function JobPiece({ piece, index, jobs, picked, pick, near }: Props) {
  const box = useRef<HTMLUListElement>(null);
  const [drawn, setDrawn] = useState(piece.height === 0);
  const newest = useRef({ piece, near });
  newest.current = { piece, near };
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const seen = new IntersectionObserver(
      (entries) => {
        const entry = entries.at(-1);
        if (entry === undefined) return;
        const stays = entry.isIntersecting || element.contains(document.activeElement);
        if (!stays) newest.current.piece.height = entry.boundingClientRect.height;
        setDrawn(stays);
        newest.current.near(index, entry.isIntersecting);
      },
      { rootMargin: "100% 0px" },
    );
    seen.observe(element);
    return () => {
      seen.disconnect();
      newest.current.near(index, false);
    };
  }, [index]);
  return (
    <ul class="rows jobs" ref={box} aria-label={`Jobs, part ${index + 1}`} style={drawn ? {} : { height: `${piece.height}px` }}>
      {drawn &&
        jobs.map((job) => (
          <Row key={job.job_id} job={job} picked={picked.has(job.job_id)} pick={pick} />
        ))}
    </ul>
  );
}

interface RowProps {
  job: Job;
  picked: boolean;
  pick: ((job: Job) => void) | null;
}

/** A row that is drawn again only where its job has changed, or whether it is chosen. */
class Row extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    return next.job !== this.props.job || next.picked !== this.props.picked;
  }

  override render({ job, picked }: RowProps): VNode {
    const { pick } = this.props;
    return <JobRow job={job} picked={picked} onPick={pick === null ? null : () => this.props.pick?.(job)} />;
  }
}
