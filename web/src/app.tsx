import { Banner } from "./components/Banner";
import { MadeUp } from "./components/MadeUp";
import { ToastView } from "./components/ToastView";
import { TopBar } from "./components/TopBar";
import { path } from "./router";
import { Job } from "./routes/Job";
import { Overview } from "./routes/Overview";
import { Queue } from "./routes/Queue";
import { Forbidden, SignIn } from "./routes/SignIn";
import { connection, lostWhy } from "./state/connection";
import { signInState } from "./state/signin";

export function App() {
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <MadeUp />
      <TopBar />
      <main id="main" tabIndex={-1}>
        <Content />
      </main>
      <footer class="foot">What you see stays on this machine.</footer>
      <ToastView />
    </>
  );
}

function Content() {
  if (signInState.value === "trying" || connection.value === "signed-out") return <SignIn />;
  if (connection.value === "forbidden") return <Forbidden why={lostWhy.value} />;
  switch (path.value) {
    case "/":
      return <Overview />;
    case "/queue":
      return <Queue />;
    default:
      return <Elsewhere />;
  }
}

function Elsewhere() {
  const job = /^\/jobs\/([A-Za-z0-9-]{1,64})$/.exec(path.value)?.[1];
  return job === undefined ? <Banner /> : <Job key={job} id={job} />;
}
