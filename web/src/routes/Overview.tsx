import { Notices } from "../components/Banner";
import { Capacity } from "../components/Capacity";
import { Decisions } from "../components/Decisions";
import { Headline } from "../components/Headline";
import { Line } from "../components/Line";
import { NextQuiet } from "../components/NextQuiet";
import { QueueLine } from "../components/QueueLine";
import { Reasons } from "../components/Reasons";
import { Schedules } from "../components/Schedules";
import { Score } from "../components/Score";
import { WordDialog } from "../components/WordDialog";

export function Overview() {
  return (
    <>
      <Headline />
      <Notices />
      <div class="columns">
        <div class="column">
          <Capacity />
          <QueueLine />
          <Line />
          <Decisions />
        </div>
        <div class="column">
          <Score />
          <NextQuiet />
          <Reasons />
          <Schedules />
        </div>
      </div>
      <WordDialog />
    </>
  );
}
