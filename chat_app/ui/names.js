// Names for those who cannot see Gradio's unnamed buttons: a screen reader says them.
const NAMES = { ".submit-button": "Send", ".stop-button": "Stop" };

new MutationObserver(() => {
  for (const [selector, name] of Object.entries(NAMES)) {
    for (const button of document.querySelectorAll(`${selector}:not([aria-label])`)) button.setAttribute("aria-label", name);
  }
}).observe(document.documentElement, { childList: true, subtree: true });
