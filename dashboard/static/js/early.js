// Before anything is drawn, so that nothing flashes: the theme that was chosen, else the system's.
{
  const chosen = localStorage.getItem("theme");
  const light = chosen ? chosen === "light" : matchMedia("(prefers-color-scheme: light)").matches;
  document.documentElement.dataset.theme = light ? "light" : "dark";
}
