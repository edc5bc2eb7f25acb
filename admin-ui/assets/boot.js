// Starts the console. A file of its own, since the content security policy allows no script in the page.

const link = document.querySelector('link[rel="modulepreload"]');

try {
  const module = await import(link.href);
  await module.default();
} catch (error) {
  console.error(error);
  const boot = document.getElementById("boot");
  if (boot) {
    boot.setAttribute("role", "alert");
    boot.textContent = "The console could not be loaded. Reload the page; if that does not help, this browser may be too old.";
  }
}
