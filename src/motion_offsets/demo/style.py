"""Colours, fonts and the few scripts of the page."""

from __future__ import annotations

import gradio as gr

CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto !important; }
.dark { --color-accent: var(--primary-400) !important; }
#mo-title h1 { font-size: clamp(1.5rem, 4.5vw, 2.3rem); line-height: 1.15; margin-bottom: .3rem; }
#mo-title p { font-size: 1.05rem; max-width: 46rem; color: var(--body-text-color-subdued); }
#mo-title a { color: var(--color-accent); text-decoration: underline; }
#mo-working, #mo-summary { padding: 0; min-height: 4.5rem; }
#mo-answer:has(#mo-working) #mo-summary { display: none; }
.mo-summary { font-size: 1.2rem; font-weight: 600; margin: 0 0 .5rem; color: var(--body-text-color); }
.mo-trust { border-left: 4px solid var(--border-color-primary); border-radius: 6px; padding: .5rem .8rem; margin: 0;
  color: var(--body-text-color); background: var(--background-fill-secondary); }
.mo-good { border-color: #16a34a; }
.mo-poor { border-color: #f59e0b; background: color-mix(in srgb, #f59e0b 14%, var(--background-fill-primary)); }
#mo-downloads { gap: .5rem; }
.mo-legend { display: flex; gap: .6rem; align-items: center; font-size: .85rem; }
.mo-legend span:nth-child(2) { flex: 0 1 9rem; height: .5rem; border-radius: .25rem; }
.mo-hint, .mo-hint p { font-size: .9rem; color: var(--body-text-color-subdued); }
#mo-flow .image-frame { width: 100%; }
#mo-paths img, #mo-flow img { max-height: 75vh; object-fit: contain; }
#mo-flow img { width: 100%; height: auto; }
#mo-paths img { cursor: crosshair; }
#mo-clip video { width: 100%; max-height: 75vh; }
#mo-slider { padding: 0; }
.mo-compare { --at: 50%; position: relative; max-width: min(100%, calc(75vh * var(--ratio))); margin: 0 auto; }
.mo-compare img { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; border-radius: 6px; }
.mo-compare .mo-before { clip-path: inset(0 calc(100% - var(--at)) 0 0); }
.mo-compare input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize;
  touch-action: pan-y; }
.mo-line { position: absolute; top: 0; bottom: 0; left: var(--at); width: 4px; margin-left: -2px; background: white;
  box-shadow: 0 0 4px black; pointer-events: none; }
.mo-line::after { content: "\\2194"; position: absolute; top: 50%; left: 50%; transform: translate(-50%, -50%);
  width: 2rem; height: 2rem; border-radius: 50%; background: white; color: #1e293b; font-size: 1.2rem;
  line-height: 2rem; text-align: center; box-shadow: 0 0 4px black; }
.mo-compare input:focus-visible + .mo-line { background: var(--color-accent); }
.mo-compare input:focus-visible + .mo-line::after { outline: 4px solid var(--color-accent); }
#mo-examples .grid-wrap, #mo-examples .gallery-container { min-height: 0 !important; height: auto !important; }
@media (max-width: 640px) {
  .tab-container button { padding-left: .6rem !important; padding-right: .6rem !important; }
  #mo-title p { font-size: 1rem; }
  .mo-summary { font-size: 1.1rem; }
}
"""

# Phones play a clip in the page, and by itself, only if it is marked so, which Gradio's player does not do. Gradio
# reads a slider when the pointer is released or its number field loses focus; here, keys count too.
HEAD = """<style>
@media (max-width: 640px) { .gradio-container > .main.fillable { padding: 1rem !important; } }
</style>
<script>
new MutationObserver(() => {
  for (const video of document.querySelectorAll("#mo-clip video:not([playsinline])")) {
    video.muted = true;
    video.setAttribute("playsinline", "");
    if (video.paused) video.play().catch(() => {});
  }
}).observe(document, {childList: true, subtree: true});
document.addEventListener("keyup", (event) => {
  const {target, key} = event, arrow = /^(Arrow|Page|Home|End)/.test(key);
  if (!target.matches?.(".gradio-container input")) return;
  if (target.type === "range" && arrow) target.dispatchEvent(new PointerEvent("pointerup", {bubbles: true}));
  if (target.type === "number" && (arrow || key === "Enter")) target.dispatchEvent(new FocusEvent("blur"));
});
</script>"""

# On a phone the answer is below the button.
SHOW_ANSWER = """() => {
  if (window.innerWidth < 700) document.querySelector("#mo-answer").scrollIntoView({behavior: "smooth"});
}"""

# Phones share the clip itself, other browsers the page's address; where neither is possible, the address is shown.
SHARE = """async () => {
  const url = location.origin + location.pathname, title = document.title;
  try {
    const video = document.querySelector("#mo-clip video");
    if (video && navigator.canShare) {
      const content = await (await fetch(video.currentSrc)).blob();
      const files = [new File([content], "motion-clip.mp4", {type: "video/mp4"})];
      if (navigator.canShare({files})) {
        await navigator.share({files, title, text: url});
        return "";
      }
    }
    if (navigator.share) {
      await navigator.share({title, url});
      return "";
    }
  } catch (error) {
    if (error.name === "AbortError") return "";
  }
  try {
    await navigator.clipboard.writeText(url);
    return "copied";
  } catch (error) {
    return url;
  }
}"""


def theme() -> gr.Theme:
    """Colours and fonts; the fonts are the visitor's own, so nothing is fetched from elsewhere."""
    fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    mono = ("ui-monospace", "Consolas", "monospace")
    soft = gr.themes.Soft(
        primary_hue="indigo", secondary_hue="indigo", neutral_hue="slate", font=fonts, font_mono=mono
    )
    # Titles of controls as plain text, not as chips. All text has a contrast of 4.5 or more.
    return soft.set(
        block_title_background_fill="none",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="500",
        block_title_padding="0",
        block_label_text_color="*body_text_color",
        block_label_text_color_dark="*body_text_color",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        body_background_fill="*neutral_50",
        checkbox_label_background_fill_selected="*primary_600",
        color_accent="*primary_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
    )
