// Names for those who cannot see Gradio's unnamed buttons: a screen reader says them.
const NAMES = { ".submit-button": "Send", ".stop-button": "Stop", ".arrow > button": "Details", ".download-link": "Download" };

new MutationObserver(() => {
  for (const [selector, name] of Object.entries(NAMES)) {
    for (const unnamed of document.querySelectorAll(`:is(${selector}):not([aria-label]:not([aria-label=""]))`)) {
      unnamed.setAttribute("aria-label", name);
    }
  }
}).observe(document.documentElement, { childList: true, subtree: true });
