import { signInFailed, signInState } from "../state/signin";
import { Icon } from "../components/Icon";
import { Mark } from "../components/Mark";

/** How to get in: this page knows no passwords, only links from the terminal. */
export function SignIn() {
  const trying = signInState.value === "trying";
  return (
    <section class="card sign-in" aria-labelledby="sign-in" aria-busy={trying}>
      <Mark size={44} />
      <h1 id="sign-in">{trying ? "Signing in…" : "Sign in from the terminal"}</h1>
      {signInFailed.value && (
        <p class="banner banner-bad" role="alert">
          <Icon name="lost" />
          <span>{signInFailed.value}</span>
        </p>
      )}
      {!trying && (
        <>
          <p>On the machine that runs Leasehold, type</p>
          <pre tabIndex={0}>leasehold open</pre>
          <p>and open the link that it prints. It works once, for ten minutes, and for this browser alone.</p>
          <p class="fine">
            For somebody who should only look: <code>leasehold open --role viewer</code>
          </p>
        </>
      )}
    </section>
  );
}

/** Signed in, and yet not allowed to see this. */
export function Forbidden({ why }: { why: string }) {
  return (
    <section class="card sign-in" aria-labelledby="forbidden">
      <Mark size={44} />
      <h1 id="forbidden">This session may not see the page</h1>
      <p>{why}</p>
    </section>
  );
}
