// Dark, light, or as the system has it: what was chosen is remembered in this browser, and set before anything is painted.
"use strict";

{
  const KEY = "wsss-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  const kept = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // a browser that keeps nothing
    }
  };
  const keep = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // it lasts as long as the page
    }
  };
  const take = (theme) => {
    if (theme === "dark" || theme === "light") root.dataset.theme = theme;
    const button = document.getElementById("theme");
    button?.setAttribute("aria-pressed", String(isDark()));
    dispatchEvent(new Event("themechange"));
  };

  take(kept());
  system.addEventListener("change", () => take(kept()));
  addEventListener("storage", (event) => event.key === KEY && take(event.newValue)); // another page of ours
  addEventListener("DOMContentLoaded", () => {
    take(kept());
    document.getElementById("theme")?.addEventListener("click", () => {
      const theme = isDark() ? "light" : "dark";
      keep(theme);
      take(theme);
    });
  });
}
