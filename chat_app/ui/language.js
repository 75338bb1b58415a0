// The person's language: the one they chose here, else their browser's. Gradio reads it from the browser, so it is put in its place.
const chosen = document.cookie.match(/(?:^|; )language=(en|es)\b/)?.[1];
if (chosen) {
  for (const [name, value] of [["language", chosen], ["languages", [chosen]]]) {
    Object.defineProperty(navigator, name, { get: () => value, configurable: true });
  }
}
document.documentElement.lang = navigator.language.startsWith("es") && location.pathname.startsWith("/chat") ? "es" : "en";
addEventListener("click", (event) => {
  const language = event.target.closest?.("[data-language]")?.dataset.language;
  if (!language) return;
  document.cookie = `language=${language}; path=/; max-age=31536000; samesite=lax`;
  location.reload();
});
