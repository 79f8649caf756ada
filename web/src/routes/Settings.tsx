import { Card } from "../components/Card";
import { Choices } from "../components/Choices";
import { Configured } from "../components/Configured";
import { Told } from "../components/Told";
import { Tokens } from "../components/Tokens";
import { WindowDialog } from "../components/WindowDialog";
import { Windows } from "../components/Windows";
import { Word } from "../components/Word";
import { WordDialog } from "../components/WordDialog";
import { timeOf } from "../models/format";
import { may, me } from "../state/connection";
import { blockOf } from "../state/word";
import { owner } from "../state/dashboard";
import { theme, type Theme } from "../state/theme";

const THEMES: [label: string, value: Theme][] = [
  ["As the system has it", "auto"],
  ["Light", "light"],
  ["Dark", "dark"],
];

/** What the owner has said, what is configured, who may do what, and how the page looks. */
export function Settings() {
  return (
    <>
      <h1 class="page-title">Settings</h1>
      <div class="columns">
        <div class="column">
          <YourWord />
          <Windows />
        </div>
        <div class="column">
          <ThisPage />
          {may("notification:read") && <Told />}
          {may("token:list") && <Tokens />}
        </div>
      </div>
      {may("config:read") && <Configured />}
      <WordDialog />
      <WindowDialog />
    </>
  );
}

function YourWord() {
  const said = owner.value;
  const blocked = said !== null && blockOf(said) !== undefined;
  return (
    <Card title="The owner’s word" id="word">
      <p>{said === null ? "…" : said.admission === "block" || blocked ? "New work is blocked." : "New work may start as far as the owner has a say in it."}</p>
      <Word />
    </Card>
  );
}

function ThisPage() {
  const who = me.value;
  return (
    <Card title="This page" id="this-page">
      <Choices legend="Colours" options={THEMES} chosen={theme.value} choose={(chosen) => (theme.value = chosen)} />
      {who && (
        <p class="fine">
          Signed in as {who.name} ({who.role}), until {timeOf(Date.parse(who.expires_at))} at the longest.
        </p>
      )}
    </Card>
  );
}
