"""How the screen is laid out, in Textual's CSS. Colours are the terminal's own, and none is needed."""

CSS = """
Screen { background: ansi_default; color: ansi_default; layout: vertical; }
#head, #bars { height: auto; background: ansi_default; }
Screen.-low #bars { display: none; }
#panes { height: 1fr; layout: vertical; }
#work { height: 2fr; }
Screen.-wide #panes { layout: horizontal; }
Screen.-wide #work { height: 100%; width: 3fr; }
Screen.-wide #events { height: 100%; width: 2fr; margin-left: 1; }
.pane { height: 1fr; border-top: solid ansi_bright_black; border-title-style: bold; }
.pane:focus-within { border-top: heavy ansi_default; border-title-style: bold reverse; }
.columns { height: 1; background: ansi_default; text-style: bold; }
.rows, .rows:focus {
  height: 1fr; max-height: 100%; background: ansi_default; background-tint: ansi_default 0%;
  scrollbar-size-vertical: 1; scrollbar-gutter: stable; overflow-x: hidden;
}
.rows > .option-list--option { padding: 0; }
.rows > .option-list--option-highlighted { background: ansi_default; color: ansi_default; text-style: none; }
.rows:focus > .option-list--option-highlighted {
  background: ansi_default; color: ansi_default; text-style: reverse;
}
.rows > .option-list--option-hover { background: ansi_default; }
#filter { height: 1; border: none; background: ansi_default; }
Question, Details { align: center middle; background: ansi_default; }
.dialog {
  width: 76; max-width: 96%; height: auto; max-height: 96%; padding: 0 2;
  border: round ansi_default; background: ansi_default;
}
.dialog VerticalScroll { height: auto; max-height: 75vh; }
.keys { margin-top: 1; }
Footer { background: ansi_default; }
Toast { background: ansi_default; }
"""
