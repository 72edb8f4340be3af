// ---- Markdown, built as nodes: no text of a model is ever read as HTML ----
function inline(text) {
  const out = [];
  const pattern = /(`+)([\s\S]*?[^`])\1(?!`)|\*\*([^*\n]+)\*\*|\*([^*\n]+)\*|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)/g;
  let last = 0;
  for (const match of text.matchAll(pattern)) {
    out.push(text.slice(last, match.index));
    if (match[2] !== undefined) out.push(make("code", {}, match[2].trim()));
    else if (match[3] !== undefined) out.push(make("strong", {}, ...inline(match[3])));
    else if (match[4] !== undefined) out.push(make("em", {}, ...inline(match[4])));
    else out.push(make("a", { href: match[6], rel: "noopener noreferrer", target: "_blank" }, match[5]));
    last = match.index + match[0].length;
  }
  out.push(text.slice(last));
  return out;
}
function codeBlock(lines) {
  const code = lines.join("\n");
  const button = make("button", { type: "button", "aria-label": "Copy code", onclick: () => copy(code, button) }, "Copy");
  return make("pre", {}, button, make("code", {}, code));
}
function tableOf(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const [head, , ...rows] = lines;
  return make("table", {},
    make("thead", {}, make("tr", {}, ...cells(head).map((cell) => make("th", { scope: "col" }, ...inline(cell))))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row).map((cell) => make("td", {}, ...inline(cell)))))));
}
function markdown(text) {
  const out = document.createDocumentFragment();
  const lines = text.split("\n");
  let paragraph = [];
  const flush = () => {
    if (paragraph.length === 0) return;
    const node = make("p");
    paragraph.forEach((line, i) => node.append(...(i ? [make("br")] : []), ...inline(line)));
    out.append(node);
    paragraph = [];
  };
  const take = (i, test) => { let end = i; while (end < lines.length && test(lines[end])) ++end; return end; };
  for (let i = 0; i < lines.length; ++i) {
    const line = lines[i];
    const fence = line.match(/^\s*(```+|~~~+)/);
    const heading = line.match(/^(#{1,6})\s+(.*)/);
    const item = line.match(/^\s*([-*+]|\d+[.)])\s+(.*)/);
    if (fence) {
      flush();
      const end = take(i + 1, (other) => !other.trim().startsWith(fence[1]));
      out.append(codeBlock(lines.slice(i + 1, end)));
      i = end;
    } else if (heading) {
      flush();
      out.append(make("h" + Math.min(6, heading[1].length + 2), {}, ...inline(heading[2])));
    } else if (item) {
      flush();
      const ordered = /\d/.test(item[1]);
      const list = make(ordered ? "ol" : "ul", ordered ? { start: parseInt(item[1], 10) } : {});
      const end = take(i, (other) => /^\s*([-*+]|\d+[.)])\s+/.test(other));
      for (const entry of lines.slice(i, end)) {
        list.append(make("li", {}, ...inline(entry.replace(/^\s*([-*+]|\d+[.)])\s+/, ""))));
      }
      out.append(list);
      i = end - 1;
    } else if (line.startsWith(">")) {
      flush();
      const end = take(i, (other) => other.startsWith(">"));
      out.append(make("blockquote", {}, ...inline(lines.slice(i, end).map((l) => l.replace(/^>\s?/, "")).join("\n"))));
      i = end - 1;
    } else if (line.includes("|") && /^[\s|:-]+$/.test(lines[i + 1] ?? "") && (lines[i + 1] ?? "").includes("-")) {
      flush();
      const end = take(i, (other) => other.includes("|"));
      out.append(tableOf(lines.slice(i, end)));
      i = end - 1;
    } else if (line.trim() === "") {
      flush();
    } else {
      paragraph.push(line);
    }
  }
  flush();
  return out;
}
