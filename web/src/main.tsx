import { render } from "preact";
import { App } from "./app";
import { followHistory, go, path } from "./router";
import { keepTime } from "./state/clock";
import { keepConnected } from "./state/connection";
import { signInByLink } from "./state/signin";
import { keepTheme } from "./state/theme";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/components.css";

const root = document.getElementById("page");
if (root === null) throw new Error("the page has no place to be drawn in");

keepTheme();
followHistory();
keepTime();
const signedIn = path.value === "/sign-in" ? signInByLink() : Promise.resolve();
render(<App />, root);
await signedIn;
go("/", { instead: true });
keepConnected();
