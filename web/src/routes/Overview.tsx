import { Banner, Notices } from "../components/Banner";
import { Capacity } from "../components/Capacity";
import { Decisions } from "../components/Decisions";
import { Headline } from "../components/Headline";
import { Line } from "../components/Line";
import { Reasons } from "../components/Reasons";
import { Score } from "../components/Score";
import { WordDialog } from "../components/WordDialog";

export function Overview() {
  return (
    <>
      <Banner />
      <Headline />
      <Notices />
      <div class="columns">
        <div class="column">
          <Capacity />
          <Line />
          <Decisions />
        </div>
        <div class="column">
          <Score />
          <Reasons />
        </div>
      </div>
      <WordDialog />
    </>
  );
}
