"""The browser's own store of runs: read, merged and written by a script in the page, under one fixed name.

Plain `localStorage` and not `gr.BrowserState`, because two tabs write: a run is merged by its id into what is there at
that moment, and a tab's stale copy never wins.
"""

from __future__ import annotations

from components.workspace.run_summary import MOST_BYTES, MOST_RUNS, SCHEMA

LIBRARY = f"""
const KEY = "wanda-lab-runs";
const read = () => {{
    try {{
        const kept = JSON.parse(localStorage.getItem(KEY) ?? "null");
        if (kept?.schema === {SCHEMA} && Array.isArray(kept.runs)) return kept;
    }} catch {{}}
    return {{schema: {SCHEMA}, runs: []}};
}};
const write = (runs) => {{
    runs.sort((a, b) => a.date < b.date ? 1 : -1);
    runs = runs.slice(0, {MOST_RUNS});
    while (runs.length && JSON.stringify(runs).length > {MOST_BYTES} - 100) runs.pop();
    const text = JSON.stringify({{schema: {SCHEMA}, runs}});
    try {{ localStorage.setItem(KEY, text); }} catch {{}}
    return text;
}};
const merge = (added) => {{
    const ids = new Set(added.map((run) => run.id));
    const kept = read().runs;
    const notes = Object.fromEntries(kept.map((run) => [run.id, run.note]));
    added.forEach((run) => {{ run.note = run.note || notes[run.id] || ""; }});
    return write([...added, ...kept.filter((run) => !ids.has(run.id))]);
}};
"""

KEEP = f"""(text) => {{
    {LIBRARY}
    if (text) try {{ merge(JSON.parse(text).runs); }} catch {{}}
}}"""
"""Merges runs, given as `as_json`, into the store."""

READ = f"""() => {{
    {LIBRARY}
    return [JSON.stringify(read())];
}}"""
"""All kept runs."""

MERGE = f"""(text) => {{
    {LIBRARY}
    if (!text) return [JSON.stringify(read())];
    try {{ return [merge(JSON.parse(text).runs)]; }} catch {{ return [JSON.stringify(read())]; }}
}}"""
"""As `KEEP`; gives all kept runs."""

NOTE = f"""(chosen, note) => {{
    {LIBRARY}
    const kept = read().runs;
    kept.forEach((run) => {{ if (chosen.includes(run.id)) run.note = String(note ?? "").slice(0, 200); }});
    return [write(kept)];
}}"""
"""Writes a note on the chosen runs."""

FORGET = f"""(chosen) => {{
    {LIBRARY}
    return [write(read().runs.filter((run) => !chosen.includes(run.id)))];
}}"""

EXPORT = f"""(chosen) => {{
    {LIBRARY}
    const runs = read().runs.filter((run) => !chosen.length || chosen.includes(run.id));
    const file = new Blob([JSON.stringify({{schema: {SCHEMA}, runs}}, null, 1)], {{type: "application/json"}});
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = "wanda-lab-runs.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}}"""
