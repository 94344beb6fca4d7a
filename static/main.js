// Starts the player of somebody who is logged in. Every module beside this one has one job.
// They are written for browsers of 2018 and later (ES2018); see tests/test_browser.py.

import { startClock } from "./clock.js";
import { startColours } from "./colours.js";
import { startControls } from "./controls.js";
import { startFitting } from "./fit.js";
import { startFullScreen } from "./fullscreen.js";
import { startPlayer } from "./player.js";
import { startPolling } from "./poll.js";
import { startRest } from "./rest.js";

startFullScreen();
startControls();
startFitting();
startColours();
startClock();
startPlayer();
startRest();
startPolling();

// All of it runs, so the page keeps itself current, and reload.js has nothing to do.
const reload = document.getElementById("reload");
if (reload) reload.remove();
