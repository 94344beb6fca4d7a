// Reloads the page after a while, as it does without JavaScript, unless main.js runs and
// takes this script's element away. Any browser can run this one.

(function () {
  var script = document.getElementById("reload");
  setTimeout(function () {
    if (document.getElementById("reload")) location.reload();
  }, 1000 * script.getAttribute("data-after-seconds"));
})();
