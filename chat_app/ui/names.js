// Names for those who cannot see Gradio's unnamed buttons: a screen reader says them. And Gradio's own names, in Spanish.
const NAMES = {
  ".submit-button": "Send", ".stop-button": "Stop", ".download-link": "Download",
  "[role=graphics-symbol]": "Marks of the plot",
};
const IN_SPANISH = {
  Send: "Enviar", Stop: "Detener", Like: "Me gusta", Liked: "Me gusta: elegido", Dislike: "No me gusta",
  Disliked: "No me gusta: elegido", "Toggle Sidebar": "Abrir o cerrar las conversaciones", "Copy message": "Copiar el mensaje",
  Table: "Tabla", Clear: "Conversación nueva", "Clear chat": "Conversación nueva",
};
const name = () => {
  for (const [selector, name] of Object.entries(NAMES)) {
    for (const unnamed of document.querySelectorAll(`:is(${selector}):not([aria-label]:not([aria-label=""]))`)) {
      unnamed.setAttribute("aria-label", name);
    }
  }
  // an empty plot is named for a part that no role stands for, and what scrolls must be reached by the keyboard
  for (const empty of document.querySelectorAll('.empty[aria-label]:not([role])')) empty.setAttribute('role', 'img');
  document.querySelector('.examples[role="list"]')?.removeAttribute("role"); // it holds buttons, no items
  // what pops up has a button in its head, which is none itself: it lies open
  for (const head of document.querySelectorAll(".toast-header[role=button]")) {
    head.removeAttribute("role");
    head.removeAttribute("tabindex");
  }
  // a tool's card is a button around a button: the inner one, which the keyboard reaches, takes the card's name
  for (const card of document.querySelectorAll(".title[role=button]")) {
    const arrow = card.querySelector(".arrow > button");
    if (!arrow) continue;
    card.removeAttribute("role");
    card.removeAttribute("tabindex");
  }
  for (const arrow of document.querySelectorAll(".title .arrow > button")) {
    const title = arrow.closest(".title").innerText.replace(/\s+/g, " ").trim();
    if (arrow.getAttribute("aria-label") !== title) arrow.setAttribute("aria-label", title);
    arrow.setAttribute("aria-expanded", arrow.closest(".title").classList.contains("expanded"));
  }
  // what is waited for is read out as it changes: the region must stand before its text does
  document.querySelector("#waiting:not([role])")?.setAttribute("role", "status");
  if (document.documentElement.lang !== "es") return;
  if (document.title.startsWith("People")) document.title = document.title.replace("People", "Personas");
  for (const attribute of ["aria-label", "title"]) {
    for (const named of document.querySelectorAll(`main [${attribute}], .sidebar [${attribute}]`)) {
      const spanish = IN_SPANISH[named.getAttribute(attribute)];
      if (spanish) named.setAttribute(attribute, spanish);
    }
  }
};
const changes = { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ["aria-label", "title"] };
new MutationObserver(name).observe(document.documentElement, changes);
