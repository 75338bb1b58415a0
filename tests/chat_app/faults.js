// What of the page is hard to read or to use: text with less contrast than WCAG AA asks for (4.5:1), what can be clicked but has
// no name or is smaller than 24 pixels. To be evaluated in the page; gives a list of sentences.
() => {
  const seen = { opacityProperty: true, visibilityProperty: true };
  const colour = (text) => {
    const [r, g, b, a = 1] = (text.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    return text.startsWith("color(") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const luminance = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      layers.push(colour(getComputedStyle(e).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reduceRight((below, top) => over(top, below), [255, 255, 255, 1]);
  };

  const faults = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const [element, text] = [node.parentElement, node.textContent.trim()];
    if (!text || !element.checkVisibility(seen) || element.closest("script, style, svg, [disabled]")) continue;
    const below = background(element);
    const [dark, light] = [luminance(over(colour(getComputedStyle(element).color), below)), luminance(below)].sort((a, b) => a - b);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) faults.add(`contrast ${ratio.toFixed(1)}: ${text.slice(0, 40)}`);
  }
  for (const element of document.querySelectorAll("a, button, [role=button], input, textarea")) {
    if (!element.checkVisibility(seen)) continue;
    const named = [element.getAttribute("aria-label"), element.textContent, element.title, element.labels?.[0]?.textContent];
    if (!named.some((name) => name?.trim())) faults.add(`no name: ${element.outerHTML.slice(0, 120)}`);
    const { width, height } = element.getBoundingClientRect();
    if (element.matches("button") && Math.min(width, height) < 24) faults.add(`${width} x ${height}: ${element.outerHTML.slice(0, 120)}`);
  }
  return [...faults];
}
