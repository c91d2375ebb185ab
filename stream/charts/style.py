"""The style sheet of HTML reports: colours for light and dark, text, tables, and the classes that ``svg`` uses."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --paper: #fff; --line: #e4e7ec; --now: #d9480f;
  --then: #9db4d3; --bad: #e0313133; --good: #2b8a3e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --paper: #14171d; --line: #2b313c;
  --now: #ff922b; --then: #47648c; --bad: #e0313155;
  --good: #69db7c; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1000px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } .soft { color: var(--soft); }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.grid { stroke: var(--line); } .threshold { stroke: var(--now); stroke-dasharray: 6 4; }
text.threshold { stroke: none; fill: var(--now); } .evidence { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.incident { fill: var(--bad); } .reference { fill: var(--then); } .present { fill: var(--now); }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
.features { display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); gap: 1rem; }
.feature { border: 1px solid var(--line); border-radius: 6px; padding: .6rem; } .feature b { display: block; }
"""
