// The Review page's keyboard, and its form: what the fields hold, items added and removed, parameters switched on.
// The server makes the form and judges what comes of it; nothing is decided here.
() => {
  const at = (selector) => document.querySelector(selector);
  const press = (selector) => at(selector)?.checkVisibility() && at(selector).click();
  const typing = (element) => element?.matches("textarea, select, [contenteditable=true], input:not([type=radio], [type=checkbox])");

  window.reviewForm = (add = false) => JSON.stringify({
    add: add || window.reviewAdds === true,
    text: at("#in-answer")?.value ?? "",
    calls: [...document.querySelectorAll("#form .call")].map((call) => ({
      name: call.querySelector("[data-tool]").value,
      fields: [...call.querySelectorAll("[data-path]")]
        .filter((field) => !field.closest(".given[hidden]"))
        .map((field) => [JSON.parse(field.dataset.path), field.value]),
    })),
  });
  window.reviewMode = (mode) => at("#form .draft")?.setAttribute("data-mode", mode);

  const focusFirst = (call) => call?.querySelector("[data-path]:not([type=hidden])")?.focus();
  const correcting = () => at("#form .draft")?.dataset.mode === "right" && at('#mode input[value="calls"]')?.click();
  const toTool = () => (correcting(), at("#in-tool-0")?.focus(), at("#in-tool-0")?.select());
  const toFields = () => {
    correcting();
    at("#form .draft")?.dataset.mode === "text" ? at("#in-answer")?.focus() : focusFirst(at("#form .call"));
  };
  const KEYS = {
    a: () => press("#approve"), n: () => press("#skip"), r: () => press("#reject"), t: () => press("#try"),
    u: () => press("#undo"), s: () => press("#apply-similar"), w: toTool, e: toFields, "?": () => press("#help"),
  };

  let [reshaped, giveUp] = [null, 0]; // the call whose fields are wanted next, and until when
  const reshape = (call) => {
    reshaped = call;
    at("#reshape").click();
    clearTimeout(giveUp);
    giveUp = setTimeout(() => (reshaped = null), 15000); // it was refused, or the server is gone: the keys work again
  };
  const settleTool = (input) => {
    const names = [...document.querySelectorAll("#tools-offered option")].map((option) => option.value);
    const wanted = input.value.trim().toLowerCase();
    input.value = names.find((name) => name === wanted) ?? names.find((name) => name.includes(wanted)) ?? input.dataset.was;
    if (input.value === input.dataset.was) return;
    input.dataset.was = input.value;
    reshape(input.closest(".call").id);
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return document.activeElement?.blur();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return event.preventDefault(), press("#approve");
    if (event.key === "Enter" && event.target.matches?.("[data-tool]")) return event.preventDefault(), settleTool(event.target);
    if (reshaped || typing(event.target) || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });

  let waiting = 0;
  const compare = () => (clearTimeout(waiting), (waiting = setTimeout(() => at("#compare")?.click(), 400)));
  const decided = (event) => event.target.closest?.("#approve, #reject, #skip, #undo") && clearTimeout(waiting);
  document.addEventListener("click", decided); // what was typed last is compared no more
  document.addEventListener("input", (event) => event.target.closest?.("#form") && !event.target.matches("[data-tool]") && compare());
  document.addEventListener("change", (event) => {
    if (event.target.matches("#form [data-tool]")) settleTool(event.target);
    if (event.target.matches("#form [data-switch]")) {
      const given = event.target.closest(".optional").querySelector(":scope > .given");
      given.hidden = !event.target.checked;
      if (event.target.checked) given.querySelector("[data-path]:not([type=hidden])")?.focus();
      compare();
    }
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#form button");
    if (!button) return;
    if (button.matches("[data-add-call]")) {
      window.reviewAdds = true;
      reshape(`call-${document.querySelectorAll("#form .call").length}`);
    } else if (button.matches("[data-remove-call]")) {
      button.closest(".call").remove();
      window.reviewAdds = false;
      reshape(null);
    } else if (button.matches("[data-remove]")) {
      button.closest(".item").remove();
      compare();
    } else if (button.matches("[data-add]")) {
      const [list, next] = [button.parentElement, button.dataset.next++];
      list.querySelector(":scope > .items").insertAdjacentHTML(
        "beforeend", list.querySelector(":scope > template").innerHTML.replaceAll(button.dataset.add, next));
      list.querySelector(":scope > .items > .item:last-child [data-path]:not([type=hidden])")?.focus();
      compare();
    }
  });
  document.addEventListener("submit", (event) => event.target.matches("#form form") && event.preventDefault());
  let key = null;
  new MutationObserver(() => {
    const draft = at("#form .draft");
    if (!draft || draft.dataset.key === key) return;
    key = draft.dataset.key;
    draft.reset(); // Gradio keeps elements that look alike, and with them what was typed into another turn's
    const call = reshaped && at(`#${reshaped}`);
    [reshaped, window.reviewAdds] = [null, false];
    if (!call) return;
    focusFirst(call);
    if (!call.querySelector("[data-path]")) call.querySelector("[data-tool]").focus(); // a tool without parameters
  }).observe(document.documentElement, { attributes: true, attributeFilter: ["data-key"], childList: true, subtree: true });
}
