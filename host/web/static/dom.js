// The only place where elements are made. Text becomes text nodes and attributes
// become attributes, never markup, so nothing that comes from the chain can be
// more than text (the Content-Security-Policy would refuse it too).

// h makes an element: h("a", {href: route("block", 7), class: "mono"}, "7").
// A property that begins with "on" is a listener; null, false and undefined
// properties and children are left out; children may be nested arrays.
export function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else el.setAttribute(name, value === true ? "" : value);
  }
  add(el, children);
  return el;
}

// add appends children as h does.
export function add(el, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    el.append(child instanceof Node ? child : String(child));
  }
}

// fill replaces what is in an element.
export function fill(el, ...children) {
  el.replaceChildren();
  add(el, children);
  return el;
}

// say sets an element's text, and leaves the document alone if that is what it
// says already.
export function say(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

// drawing is an SVG of one path.
export function drawing(box, path, cls = "") {
  const make = (tag, attributes) => {
    const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
    return el;
  };
  const svg = make("svg", { viewBox: box, class: cls, preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(make("path", { d: path }));
  return svg;
}

// route is the address of a page: route("block", 7) is "#/block/7".
export function route(...parts) {
  return "#/" + parts.map((p) => encodeURIComponent(p)).join("/");
}

// panel is a titled box; extra goes to the right of its title.
export function panel(title, body, { extra = null, cls = "", id = null } = {}) {
  return h("section", { class: "panel " + cls, id, "aria-label": title },
    h("header", {}, h("h2", {}, title), extra), body);
}

// table makes a table that scrolls inside itself where it is too wide. Columns
// are [title, class]; a row is a list of cells.
export function table(columns, rows, empty) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const cell = (tag, i, content) => h(tag, { class: columns[i][1] ?? "" }, content);
  return h("div", { class: "scroll", tabindex: "0" }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map((c, i) => cell("th", i, c[0])))),
    h("tbody", {}, rows.map((r) => h("tr", {}, r.map((c, i) => cell("td", i, c)))))));
}

// facts is a list of names and values.
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

// copyable is a long value in full, with a button that copies it.
export function copyable(text, shown = text) {
  const button = h("button", { type: "button", class: "copy", "aria-label": "Copy", title: "Copy" }, drawing("0 0 16 16", "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3"));
  button.addEventListener("click", async () => {
    let how = "done";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      how = "failed"; // no clipboard for pages that are not served securely
    }
    button.classList.add(how);
    setTimeout(() => button.classList.remove(how), 1200);
  });
  return h("span", { class: "long mono" }, h("span", {}, shown), button);
}
