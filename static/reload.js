// Reloads the page after a while, as it does without JavaScript, unless main.js runs and
// takes this script's element away. Any browser can run this one.

(function () {
  var script = document.getElementById("reload");
  var seconds = Number(script.getAttribute("data-after-seconds"));
  function reload() {
    if (document.getElementById("reload")) location.reload();
  }
  setTimeout(reload, Math.min(1000 * seconds, 2147483647)); // a longer wait would be none
})();
