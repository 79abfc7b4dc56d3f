# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script of a report's page; over 400 lines, because the page's policy allows it as one text with one hash."""

from __future__ import annotations

SCRIPT = r"""
"use strict";
(async () => {
  const byId = (id) => document.getElementById(id);
  const { words, charts, columns, alerts, zone, printed } = JSON.parse(byId("page-data").textContent);
  const say = words.say;
  const escaped = (text) => text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);
  const DAY = 86400000;
  let table = null;

  // An element with text: texts of entries never become markup.
  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  // --- Compressed data: the rows, and the libraries, whose hashes are in the page's policy

  function unpack(id) {
    const text = atob(byId(id).textContent);
    const bytes = new Uint8Array(text.length);
    for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  }

  async function load(id) {
    document.head.append(make("script", { textContent: await unpack(id).text() }));
  }

  // --- Filters: they are part of the address, so that a link shows the same entries

  const KEYS = ["q", "alert", "severity", "actor", "kind", "action", "network", "address", "resource", "project", "from", "to",
    "hour", "at"];
  const state = {};
  const ISO = /^\d{4}-\d\d-\d\d$/;

  function read() {
    const found = new URLSearchParams(location.hash.slice(1));
    for (const key of KEYS) state[key] = found.get(key) ?? "";
    for (const key of ["from", "to"]) if (!ISO.test(state[key])) state[key] = "";
  }

  function choose(changes, { quiet = false } = {}) {
    Object.assign(state, changes);
    const chosen = new URLSearchParams(KEYS.filter((key) => state[key] !== "").map((key) => [key, state[key]]));
    const fragment = `#${chosen}`;
    if (fragment !== (location.hash || "#")) history[quiet ? "replaceState" : "pushState"](null, "", fragment);
    show();
  }

  const isFiltered = () => KEYS.some((key) => state[key] !== "");

  function showFields() {
    for (const [id, key] of [["search", "q"], ["from", "from"], ["to", "to"], ["by-actor", "actor"], ["by-action", "action"],
      ["by-project", "project"], ["by-kind", "kind"], ["by-alert", "alert"]]) {
      const field = byId(id);
      if (field && field.value !== state[key]) field.value = state[key];
    }
    showChips();
  }

  function show() {
    showFields();
    filter();
    drawActivity();
  }

  const titleOf = (name) => (name === "*" ? say.any_alert : alerts.find((alert) => alert.name === name)?.title ?? name);
  const resourceOf = (key) => {
    const [kind, ...name] = key.split(":");
    return `${kind.replaceAll("_", " ")} ${name.join(":")}`.trim();
  };
  const actorOf = (key) => {
    const [kind, ...name] = key.split(":");
    return `${name.join(":")} (${words.kinds[kind] ?? words.kinds.unknown})`;
  };
  const hourOf = (value) => {
    const [day, hour] = value.split("-");
    return `${words.weekdays[day] ?? ""} ${hour}:00`;
  };
  const NAMES = { q: "search", actor: "who", address: "where", from: "from", to: "to", at: "exact_time" };
  const SHOWN = { alert: titleOf, actor: actorOf, resource: resourceOf, hour: hourOf,
    severity: (name) => words.severities[name] ?? name,
    kind: (name) => say[name] ?? words.kinds[name] ?? name };

  function showChips() {
    const place = byId("chips");
    const set = KEYS.filter((key) => state[key] !== "");
    place.hidden = !set.length;
    place.replaceChildren(...set.map((key) => {
      const name = `${say[NAMES[key] ?? key]}: ${(SHOWN[key] ?? String)(state[key])}`;
      const off = make("button", { type: "button", ariaLabel: say.remove_filter.replace("{name}", name) }, make("bdi", {}, name), " \u00d7");
      off.addEventListener("click", () => { choose({ [key]: "" }); byId("search").focus({ preventScroll: true }); });
      return make("li", {}, off);
    }));
  }

  // All words must occur: "exact" text, -not, either|or, and * for any text.
  function matcher(text) {
    const literal = (part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
    const terms = [...text.matchAll(/(-?)(?:"([^"]*)"?|(\S+))/g)].map(([, not, exact, word]) => {
      const either = exact === undefined ? word.split("|").filter(Boolean) : [exact];
      const patterns = either.map((part) => (exact === undefined ? part.split("*").map(literal).join(".*") : literal(part).replaceAll("*", "\\*")));
      return { not: not !== "", pattern: new RegExp(patterns.join("|"), "i") };
    });
    return (found) => terms.every(({ not, pattern }) => pattern.test(found) !== not);
  }

  // --- Charts

  const options = { ast: true, actions: false, renderer: "svg", defaultStyle: false,
    tooltip: { disableDefaultStyle: true }, timeFormatLocale: words.time };
  const views = {};
  const timeOf = (day) => Date.parse(`${day}T00:00:00Z`);
  const dayOf = (time) => new Date(time).toISOString().slice(0, 10);
  let drawn = null;

  async function draw(name, shape) {
    const place = byId(name);
    if (!place || !place.clientWidth || !window.embed) return false;
    const spec = structuredClone(charts[name]);
    shape(spec, place.clientWidth);
    const view = await embed(place, spec, options);
    views[name]?.finalize();
    views[name] = view;
    place.querySelector("svg")?.setAttribute("aria-hidden", "true");
    return true;
  }

  async function drawActivity(again = false) {
    const span = `${state.from} ${state.to}`;
    if (span === drawn && !again) return;
    drawn = span;
    const isDrawn = await draw("activity", (spec, width) => {
      for (const part of spec.vconcat) part.width = width - 52;
      const [first, last] = spec.usermeta.axis;
      const from = state.from ? timeOf(state.from) : first;
      const to = state.to ? timeOf(state.to) + DAY : last;
      const { params } = spec.vconcat[1].layer.at(-1);
      if (state.from || state.to) params[0].value = { x: [from, to] };
    });
    if (!isDrawn) return;
    let waiting = 0;
    views.activity.view.addSignalListener("brush", (_name, chosen) => {
      clearTimeout(waiting);
      const [from, to] = chosen.t ?? [];
      waiting = setTimeout(() => {
        const [first, last] = charts.activity.usermeta.axis;
        const isWhole = from === undefined || (Number(from) <= first && Number(to) >= last);
        const days = isWhole ? ["", ""] : [dayOf(Number(from)), dayOf(Number(to) - 1)];
        drawn = days.join(" ");
        choose({ from: days[0], to: days[1] }, { quiet: true });
      }, 250);
    });
  }

  async function drawRhythm() {
    const isDrawn = await draw("rhythm", (spec, width) => { spec.width = Math.max(width - 40, 200); });
    if (isDrawn) views.rhythm.view.addEventListener("click", (_event, item) => {
      if (item?.datum?.n) go({ hour: `${item.datum.i}-${item.datum.h}` });
    });
  }

  // --- The table

  const TIME = 0, ACTOR = 1, ACTION = 2, MESSAGE = 3, ADDRESS = 4, PROJECT = 5, MARK = 6, RESOURCE = 7, SUBJECT = 8, STAMP = 9, LINE = 10, FILE = 11;
  let lists = {};

  function filter() {
    if (!table) return;
    // Check each distinct value once, not each row.
    const among = (name, isMeant) => new Set(lists[name].flatMap((value, place) => (isMeant(value) ? [place] : [])));
    const conditions = [];
    const where = (place, name, isMeant) => {
      const chosen = among(name, isMeant);
      conditions.push((row) => chosen.has(row[place]));
    };
    const has = (mark, isMeant) => mark.some((place) => isMeant(alerts[place]));
    if (state.actor) where(ACTOR, "actors", ([name, kind]) => `${kind}:${name}` === state.actor);
    if (state.kind === "own") where(ACTOR, "actors", ([, , own]) => own === 1);
    else if (state.kind === "others_than_own") where(ACTOR, "actors", ([, , own]) => own === 0);
    else if (state.kind) where(ACTOR, "actors", ([, kind]) => kind === state.kind);
    if (state.action) where(ACTION, "actions", (name) => name === state.action);
    if (state.network) where(ADDRESS, "addresses", ([, network]) => network === state.network);
    if (state.address) where(ADDRESS, "addresses", ([address]) => address === state.address);
    if (state.project) where(PROJECT, "projects", (name) => name === state.project);
    if (state.resource) where(RESOURCE, "resources", ([kind, name]) => `${kind}:${name}` === state.resource);
    if (state.alert) where(MARK, "marks", (mark) => has(mark, ({ name }) => state.alert === "*" || name === state.alert));
    if (state.severity) where(MARK, "marks", (mark) => has(mark, ({ severity }) => severity === state.severity));
    if (state.at) conditions.push((row) => row[TIME] === state.at);
    if (state.from) conditions.push((row) => row[TIME] >= state.from);
    if (state.to) conditions.push((row) => row[TIME].slice(0, 10) <= state.to);
    if (state.hour) {
      const [day, hour] = state.hour.split("-").map(Number);
      const days = new Map();
      const weekday = (text) => days.get(text) ?? days.set(text, (new Date(timeOf(text)).getUTCDay() + 6) % 7).get(text);
      conditions.push((row) => Number(row[TIME].slice(11, 13)) === hour && weekday(row[TIME].slice(0, 10)) === day);
    }
    if (state.q.trim()) {
      const matches = matcher(state.q);
      conditions.push((row) => matches([row[TIME], lists.actors[row[ACTOR]][0], lists.actions[row[ACTION]], row[MESSAGE],
        lists.addresses[row[ADDRESS]][0], lists.projects[row[PROJECT]]].join("\n")));
    }
    table.search.fixed("chosen", (_text, row) => conditions.every((holds) => holds(row))).draw();
  }

  function fill(id, choices) {
    const named = choices.filter(([name]) => name).sort(([one], [other]) => (one < other ? -1 : 1));
    const known = new Map(named.map(([name, value]) => [value, name]));
    for (const [value, name] of known) byId(id)?.add(new Option(name, value));
  }

  // Line breaks only between the day and the hour.
  const moment = (text) => `<span>${escaped(text).replace(" ", "</span> <span>")}</span>`;
  const breakable = (text) => escaped(text).replace(/[_@]|:(?!:)/g, "$&<wbr>");
  const badge = (kind) => `<span class="kind ${kind}">${escaped(words.kinds[kind])}</span>`;
  const severe = (mark) => (mark.length ? alerts[Math.min(...mark)] : null);

  const CELLS = {
    time: (row) => row[TIME],
    project: (row) => lists.projects[row[PROJECT]],
    actor: (row) => lists.actors[row[ACTOR]][0],
    actor_kind: (row) => lists.actors[row[ACTOR]][1],
    action: (row) => lists.actions[row[ACTION]],
    message: (row) => row[MESSAGE],
    ip_address: (row) => lists.addresses[row[ADDRESS]][0],
    resource_kind: (row) => lists.resources[row[RESOURCE]][0],
    resource: (row) => lists.resources[row[RESOURCE]][1],
    subject: (row) => lists.subjects[row[SUBJECT]][0],
  };
  const SHOW = {
    time: (text) => `<button type="button" class="open" aria-expanded="false" aria-label="${escaped(`${say.details}: ${text}`)}"></button>${moment(text)}`,
    project: (text) => escaped(text || say.unnamed),
    actor: (text, row) => `${breakable(text)} ${badge(lists.actors[row[ACTOR]][1])}`,
    action: breakable,
    message: (text, row) => {
      const alert = severe(lists.marks[row[MARK]]);
      const tag = alert && ["critical", "high", "medium"].includes(alert.severity)
        ? ` <span class="severity ${alert.severity}" title="${escaped(alert.title)}">${escaped(words.severities[alert.severity])}</span>` : "";
      return escaped(text) + tag;
    },
    ip_address: breakable,
  };
  const CLASSES = { message: "what", ip_address: "address" };

  // A cell that spreadsheets do not treat as a formula, as in the CSV file of a report.
  const harmless = (text) => text.replace(/(^|;)(?=[\s"]*[=+\-@\uff1d\uff0b\uff0d\uff20])/g, "$1'");

  // --- The details of a row

  function link(key, value, shown) {
    return make("a", { className: "only", href: `#${new URLSearchParams({ [key]: value })}` }, make("bdi", {}, shown));
  }

  function lineOf(row) {
    const line = lists.lines[row[LINE]];
    if (line !== null) return line;
    const json = (text) => text ?? "null";
    const text = (value) => JSON.stringify(value);
    return `{"action":${text(lists.actions[row[ACTION]])},"actor":${json(lists.actors[row[ACTOR]][3])},` +
      `"ip_address":${text(lists.addresses[row[ADDRESS]][0] || null)},"message":${text(row[MESSAGE])},` +
      `"subject":${json(lists.subjects[row[SUBJECT]][1])},"timestamp":${text(row[STAMP])}}`;
  }

  async function digestOf(line) {
    const found = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(line));
    return [...new Uint8Array(found)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function partsOf(row) {
    const [actor, kind] = lists.actors[row[ACTOR]];
    const [address, network] = lists.addresses[row[ADDRESS]];
    const [resourceKind, resource] = lists.resources[row[RESOURCE]];
    const fired = lists.marks[row[MARK]].map((place) => alerts[place]);
    const parts = [[say.when, [link("from", row[TIME].slice(0, 10), `${row[TIME]} ${zone}`)], `${row[TIME]} ${zone}`],
      [say.who, [link("actor", `${kind}:${actor}`, actorOf(`${kind}:${actor}`))], actorOf(`${kind}:${actor}`)],
      [say.action, [link("action", CELLS.action(row), CELLS.action(row))], CELLS.action(row)],
      [say.what, [row[MESSAGE]], row[MESSAGE]]];
    if (resource) parts.push([say.resource, [link("resource", `${resourceKind}:${resource}`, resourceOf(`${resourceKind}:${resource}`))],
      resourceOf(`${resourceKind}:${resource}`)]);
    if (address) parts.push([say.where, [link("address", address, address), " \u00b7 ", link("network", network, network)], address]);
    if (CELLS.project(row)) parts.push([say.project, [link("project", CELLS.project(row), CELLS.project(row))], CELLS.project(row)]);
    for (const alert of fired) parts.push([say.alert, [make("span", { className: `severity ${alert.severity}` }, words.severities[alert.severity]),
      " ", link("alert", alert.name, alert.title), make("small", {}, alert.check)], `${words.severities[alert.severity]}: ${alert.title}`]);
    return parts;
  }

  function detailsOf(row) {
    const parts = partsOf(row);
    const line = lineOf(row);
    const file = lists.files[row[FILE]];
    const digest = make("code");
    const known = digestOf(line).then((found) => { digest.textContent = found; return found; }, () => "");
    const copy = make("button", { type: "button", className: "copy" }, say.copy);
    copy.addEventListener("click", async () => {
      const text = parts.map(([name, , value]) => `${name}: ${value}`).concat(`${say.digest}: ${await known}`,
        file ? `${say.data_file}: ${file}` : []).join("\n");
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        // If the browser forbids copying: show the text.
        const area = make("textarea", { value: text, rows: parts.length + 2, readOnly: true, ariaLabel: say.copy });
        copy.replaceWith(area);
        area.select();
        return;
      }
      byId("announcement").textContent = say.copied;
      copy.textContent = say.copied;
      setTimeout(() => { copy.textContent = say.copy; }, 2000);
    });
    const list = make("dl", { className: "facts" }, ...parts.flatMap(([name, shown]) =>
      [make("dt", {}, name), make("dd", {}, ...shown)]), make("dt", {}, say.raw), make("dd", {}, make("code", {}, line)),
      make("dt", {}, say.digest), make("dd", {}, digest),
      ...(file ? [make("dt", {}, say.data_file), make("dd", {}, make("code", {}, file))] : []));
    return make("div", { className: "details" }, list, copy);
  }

  function toggle(element) {
    const row = table.row(element);
    if (!row.data()) return;
    const isShown = row.child.isShown();
    if (isShown) row.child.hide();
    else row.child(detailsOf(row.data()), "child").show();
    element.classList.toggle("opened", !isShown);
    element.querySelector(".open")?.setAttribute("aria-expanded", String(!isShown));
  }

  async function build() {
    const place = byId("entries");
    if (!place) return;
    const [{ rows, ...found }] = await Promise.all([unpack("packed").json(), load("table-library")]);
    lists = found;
    fill("by-actor", lists.actors.map(([name, kind]) => [actorOf(`${kind}:${name}`), `${kind}:${name}`]));
    fill("by-action", lists.actions.map((name) => [name, name]));
    fill("by-project", lists.projects.map((name) => [name, name]));
    // Row selection is not used, and its extension would read all cells at each draw.
    DataTable.select.init = () => {};
    table = new DataTable(place, {
      data: rows,
      columns: columns.map(({ name, label, visible }) => ({ name, title: label, visible, className: CLASSES[name] ?? name,
        type: "string", orderSequence: ["asc", "desc"], searchable: false,
        data: (row, type) => (type === "display" && SHOW[name] ? SHOW[name](CELLS[name](row), row) : CELLS[name](row)) })),
      order: [[0, "desc"]], pageLength: 25, lengthMenu: [25, 50, 100, 500], autoWidth: false, deferRender: true,
      orderMulti: false, orderClasses: false,
      createdRow: (element, row) => {
        const alert = severe(lists.marks[row[MARK]]);
        if (alert) element.classList.add(`is-${alert.severity}`);
      },
      layout: { topStart: null, topEnd: null, bottomStart: ["info", "pageLength"], bottomEnd: "paging" },
      language: words.table,
    });
    new DataTable.Buttons(table, { dom: { button: { tag: "button", className: "download" } }, buttons: [{ extend: "csvHtml5",
      text: say.download, filename: "audit-log", bom: true, newline: "\r\n",
      exportOptions: { columns: columns.map((_column, place) => place), orthogonal: "export", escapeExcelFormula: false,
        modifier: { search: "applied", order: "applied" },
        format: { header: (_text, place) => columns[place].name, body: (text) => harmless(String(text)) } } }] });
    byId("clear").after(table.buttons().container()[0]);
    place.addEventListener("click", (event) => {
      const element = event.target.closest("tbody tr");
      if (!element || element.classList.contains("child") || event.target.closest("a") || event.target.closest(".details")) return;
      if (event.target.closest("button.open") || getSelection().isCollapsed) toggle(element);
    });
    byId("loading").remove();
    byId("filters").hidden = false;
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    let waiting = 0;
    byId("search").addEventListener("input", (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => choose({ q: event.target.value }, { quiet: true }), 200);
    });
    for (const [id, key] of [["by-actor", "actor"], ["by-action", "action"], ["by-project", "project"], ["by-kind", "kind"], ["by-alert", "alert"]])
      byId(id)?.addEventListener("change", (event) => choose({ [key]: event.target.value }));
    byId("clear").addEventListener("click", () => choose(Object.fromEntries(KEYS.map((key) => [key, ""]))));
    showFields();
    if (isFiltered()) filter();
    document.documentElement.dataset.ready = "true";
  }

  // --- Links: to a part of the page, or to entries

  function reach(id) {
    const place = byId(id);
    place.scrollIntoView();
    place.tabIndex = -1;
    place.focus({ preventScroll: true });
  }

  function go(changes) {
    choose(changes);
    reach("all");
  }

  document.addEventListener("click", (event) => {
    const followed = event.target.closest("a[href^='#']");
    if (!followed || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (followed.classList.contains("only")) go(Object.fromEntries(new URLSearchParams(followed.hash.slice(1))));
    else reach(followed.hash.slice(1));
  });
  for (const happened of ["hashchange", "popstate"]) addEventListener(happened, () => { read(); show(); });

  for (const id of ["from", "to"]) byId(id)?.addEventListener("change", (event) => {
    const day = event.target.value.trim();
    if (day === "" || ISO.test(day)) choose({ [id]: day });
  });
  byId("whole")?.addEventListener("click", () => choose({ from: "", to: "" }));

  // --- Print: more rows than on the screen

  addEventListener("beforeprint", () => { if (table) table.page.len(printed).draw(); });
  addEventListener("afterprint", () => { if (table) table.page.len(25).draw(); });

  let resized = 0;
  let width = innerWidth;
  addEventListener("resize", () => {
    clearTimeout(resized);
    if (innerWidth !== width) resized = setTimeout(() => { width = innerWidth; drawActivity(true); drawRhythm(); }, 150);
  });
  read();
  // The charts after the table, which people wait for.
  await build();
  await new Promise((done) => { requestAnimationFrame(() => setTimeout(done)); });
  await load("chart-library");
  await drawActivity(true);
  await drawRhythm();
  document.documentElement.dataset.drawn = "true";
})();
"""
