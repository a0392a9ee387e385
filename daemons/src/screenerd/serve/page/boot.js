// Before the first paint, so that a chosen theme does not flash the other one.
try {
  const theme = JSON.parse(localStorage.getItem("screener.theme"));
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the system's theme serves.
}
