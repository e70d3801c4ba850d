"""Scripts that look at the page as people do: contrast of its text, and text that is cut off."""

# Text with a contrast below 4.5 (WCAG 2, AA), as "ratio: text". Disabled controls are exempt there. The clip, whose
# colours are not known, is behind the controls of the player.
LOW_CONTRAST = """() => {
  const numbers = (color) => {
    const found = (color.match(/-?[0-9.]+/g) ?? [0, 0, 0, 0]).map(Number);
    const rgb = found.slice(0, 3).map((value) => (color.startsWith("color(") ? 255 * value : value));
    return [...rgb, found[3] ?? 1];
  };
  const over = (top, below) => top.slice(0, 3).map((value, i) => value * top[3] + below[i] * (1 - top[3]));
  const background = (element) => {
    if (element === null) return numbers(getComputedStyle(document.body).backgroundColor).slice(0, 3);
    const style = getComputedStyle(element), gradient = style.backgroundImage.match(/rgba?[(][^)]*[)]/);
    const color = numbers(gradient ? gradient[0] : style.backgroundColor);
    return color[3] === 1 ? color.slice(0, 3) : over(color, background(element.parentElement));
  };
  const light = (rgb) => {
    const [red, green, blue] = rgb.map((value) => value / 255).map((value) =>
      value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    const seen = element.checkVisibility({opacityProperty: true, visibilityProperty: true});
    if (!text || !seen || element.closest("script, style, :disabled, [aria-disabled=true], #mo-clip")) continue;
    const color = numbers(getComputedStyle(element).color), behind = background(element);
    for (let above = element; above; above = above.parentElement) color[3] *= getComputedStyle(above).opacity;
    const [low, high] = [light(over(color, behind)), light(behind)].sort((one, other) => one - other);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)}: ${text}`);
  }
  return found;
}"""

# Text that does not fit its box or the window.
CUT_OFF = """() => {
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim());
    const text = element.matches("input:not([type]), input[type=text]") ? element.value : own.join("");
    if (!text || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (element.closest("script, style")) continue;
    const box = element.getBoundingClientRect(), clips = getComputedStyle(element).overflowX !== "visible";
    if (box.width <= 1) continue;  // for screen readers only
    if (box.right > window.innerWidth + 1 || box.left < -1 || (clips && element.scrollWidth > element.clientWidth + 1))
      found.push(text);
  }
  return found;
}"""
