// The person's language: the one they chose here, else their browser's. The server reads the same cookie (words.py), and says
// itself in which language the pages without Gradio are.
const spanish = (document.cookie.match(/(?:^|; )language=(en|es)\b/)?.[1] ?? navigator.language).startsWith("es");
const translated = { chat: true, people: true, review: false, wheel: false }[location.pathname.split("/")[1]];
if (translated !== undefined) document.documentElement.lang = spanish && translated ? "es" : "en";
addEventListener("click", (event) => {
  const language = event.target.closest?.("[data-language]")?.dataset.language;
  if (!language) return;
  document.cookie = `language=${language}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
  location.assign(location.pathname + location.search); // not a reload, which would send a form again
});
