// The person's language: the one they chose here, else their browser's. The server reads the same cookie (words.py).
const spanish = (document.cookie.match(/(?:^|; )language=(en|es)\b/)?.[1] ?? navigator.language).startsWith("es");
document.documentElement.lang = spanish && location.pathname.startsWith("/chat") ? "es" : "en";
addEventListener("click", (event) => {
  const language = event.target.closest?.("[data-language]")?.dataset.language;
  if (!language) return;
  document.cookie = `language=${language}; path=/; max-age=31536000; samesite=lax`;
  location.reload();
});
