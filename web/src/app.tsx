import type { ComponentType } from "preact";
import { Banner } from "./components/Banner";
import { ConfirmDialog } from "./components/ConfirmDialog";
import { KeysDialog } from "./components/KeysDialog";
import { MadeUp } from "./components/MadeUp";
import { Foot, More, Side, Top } from "./components/Shell";
import { ToastView } from "./components/ToastView";
import { path } from "./router";
import { Addons } from "./routes/Addons";
import { Alerts } from "./routes/Alerts";
import { Events } from "./routes/Events";
import { Job } from "./routes/Job";
import { Leases } from "./routes/Leases";
import { Machine } from "./routes/Machine";
import { Overview } from "./routes/Overview";
import { Queue } from "./routes/Queue";
import { Schedules } from "./routes/Schedules";
import { Settings } from "./routes/Settings";
import { Forbidden, SignIn } from "./routes/SignIn";
import { connection, lostWhy } from "./state/connection";
import { signInState } from "./state/signin";

const ROUTES: Record<string, ComponentType> = {
  "/": Overview,
  "/machine": Machine,
  "/queue": Queue,
  "/leases": Leases,
  "/schedules": Schedules,
  "/addons": Addons,
  "/alerts": Alerts,
  "/events": Events,
  "/settings": Settings,
};

export function App() {
  const bare = isOutside();
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <div class={bare ? "shell-bare" : "shell"}>
        {!bare && <Side />}
        <div class="content">
          <div class="over">
            <MadeUp />
            <Top bare={bare} />
          </div>
          <main id="main" tabIndex={-1}>
            <Content />
          </main>
          <footer class="foot">What you see stays on this machine.</footer>
        </div>
      </div>
      <Foot />
      <More />
      <ConfirmDialog />
      <KeysDialog />
      <ToastView />
    </>
  );
}

/** Whether nobody is signed in: there is nowhere to go. */
function isOutside(): boolean {
  return signInState.value === "trying" || connection.value === "signed-out";
}

function Content() {
  if (isOutside()) return <SignIn />;
  if (connection.value === "forbidden") return <Forbidden why={lostWhy.value} />;
  const Route = ROUTES[path.value];
  return (
    <>
      <Banner />
      {Route === undefined ? <Elsewhere /> : <Route key={path.value} />}
    </>
  );
}

function Elsewhere() {
  const job = /^\/jobs\/([A-Za-z0-9-]{1,64})$/.exec(path.value)?.[1];
  return job === undefined ? null : <Job key={job} id={job} />;
}
