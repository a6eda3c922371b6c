// A map to move in: drag it, zoom, read the text of a point, bring out a topic. No library and no network.
// `data`: alt, points [x, y, topic, title, note] with x and y from 0 to 1, topics [name, colour, path], lines [from, to].
function semsearchMap(root, data) {
  const SVG = "http://www.w3.org/2000/svg", width = 720, height = 540, edge = 20, steps = 1.5;
  const add = (parent, tag, attributes = {}, text = "") => {
    const drawn = tag === "svg" || parent.namespaceURI === SVG;
    const node = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
    node.textContent = text;
    return parent.appendChild(node);
  };
  root.textContent = "";
  const frame = add(root, "div", { style: "position:relative;flex:3 1 420px" });
  const svg = add(frame, "svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": data.alt,
    style: "width:100%;border:1px solid #8c8c8c;background:#fff;touch-action:none;cursor:grab",
  });
  const plane = add(svg, "g");
  const place = ([x, y]) => [edge + x * (width - 2 * edge), edge + (1 - y) * (height - 2 * edge)];
  data.lines.forEach(([from, to]) => {
    const [[x1, y1], [x2, y2]] = [from, to].map((row) => place(data.points[row]));
    add(plane, "line", { x1, y1, x2, y2, stroke: "#000", "vector-effect": "non-scaling-stroke" });
  });
  const points = data.points.map(([x, y, topic, title, note]) => {
    const [, fill, d] = data.topics[topic];
    const style = { d, fill, stroke: "#fff", "stroke-width": 1, "paint-order": "stroke" };
    return { at: place([x, y]), topic, title, note, node: add(plane, "path", style) };
  });

  let view = { x: 0, y: 0, zoom: 1 };
  const show = (next) => {
    view = next;
    plane.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.zoom})`);
    points.forEach(({ at, node }) => node.setAttribute("transform", `translate(${at}) scale(${1 / view.zoom})`));
  };
  const zoomBy = (factor) =>
    show({
      x: width / 2 - factor * (width / 2 - view.x),
      y: height / 2 - factor * (height / 2 - view.y),
      zoom: view.zoom * factor,
    });
  show(view);

  const box = "position:absolute;display:none;max-width:18em;padding:4px 8px;background:#fff;color:#000;";
  const hover = add(frame, "div", { style: `${box}border:1px solid #000;font-size:13px;pointer-events:none` });
  const inside = (event) => {
    const { left, top, width: wide } = svg.getBoundingClientRect();
    return [((event.clientX - left) * width) / wide, ((event.clientY - top) * width) / wide];
  };
  let near = null, held = null;
  const read = ([x, y]) => {
    if (near) near.node.setAttribute("stroke", "#fff");
    const away = ({ at }) => Math.hypot(at[0] * view.zoom + view.x - x, at[1] * view.zoom + view.y - y);
    near = points.reduce((best, point) => (away(point) < away(best) ? point : best));
    if (away(near) > 14) near = null;
    hover.style.display = near ? "block" : "none";
    if (!near) return;
    near.node.setAttribute("stroke", "#000");
    hover.textContent = "";
    add(hover, "b", {}, near.title);
    add(hover, "div", {}, near.note);
    const [left, top] = [(100 * x) / width, (100 * y) / height];
    hover.style.left = left < 50 ? `calc(${left}% + 12px)` : "auto";
    hover.style.right = left < 50 ? "auto" : `calc(${100 - left}% + 12px)`;
    hover.style.top = top < 50 ? `calc(${top}% + 12px)` : "auto";
    hover.style.bottom = top < 50 ? "auto" : `calc(${100 - top}% + 12px)`;
  };
  svg.addEventListener("pointerdown", (event) => {
    held = inside(event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    const here = inside(event);
    if (held) {
      show({ ...view, x: view.x + here[0] - held[0], y: view.y + here[1] - held[1] });
      held = here;
    }
    read(here);
  });
  svg.addEventListener("pointerup", () => (held = null));
  svg.addEventListener("pointerleave", () => read([-width, -height]));

  const side = add(root, "div", { style: "flex:1 1 190px;font-size:13px" });
  const plain = "font:inherit;color:#000;background:#fff;border:1px solid #8c8c8c;border-radius:3px;cursor:pointer;";
  for (const [sign, name, act] of [
    ["+", "zoom in", () => zoomBy(steps)],
    ["−", "zoom out", () => zoomBy(1 / steps)],
    ["whole map", "show the whole map", () => show({ x: 0, y: 0, zoom: 1 })],
  ])
    add(side, "button", { "aria-label": name, style: `${plain}margin:0 4px 8px 0;padding:2px 9px` }, sign).onclick = act;
  let pinned = null;
  const star = data.lines.length ? points[points.length - 1] : null;
  const bringOut = (topic) =>
    points.forEach((point) => {
      const seen = topic === null || point.topic === topic || point === star;
      point.node.setAttribute("opacity", seen ? 1 : 0.12);
    });
  const buttons = data.topics.map(([name, fill, d], topic) => {
    const style = `${plain}display:flex;align-items:center;width:100%;padding:1px 4px;text-align:left;border-color:#fff`;
    const button = add(side, "button", { "aria-pressed": "false", style });
    const picture = { viewBox: "-11 -11 22 22", width: 18, height: 18, "aria-hidden": "true", style: "flex:none" };
    add(add(button, "svg", picture), "path", { d, fill });
    add(button, "span", { style: "margin-left:4px" }, name);
    button.onmouseenter = button.onfocus = () => bringOut(topic);
    button.onmouseleave = button.onblur = () => bringOut(pinned);
    button.onclick = () => {
      pinned = pinned === topic ? null : topic;
      buttons.forEach((other, row) => {
        other.setAttribute("aria-pressed", String(row === pinned));
        other.style.borderColor = row === pinned ? "#000" : "#fff";
      });
      bringOut(pinned);
    };
    return button;
  });
}
