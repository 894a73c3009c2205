// Pictures of nodes and graphs from the real web page; started by make.py with one JSON argument:
// { url, playwright, chromium, shots: [{ workflow, run, widgets: {"Type.widget": value}, out, node }] }
// Without `node` (a node's type) the whole graph is taken.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const job = JSON.parse(process.argv[2]);
const { chromium } = createRequire(path.join(job.playwright, 'resolve.js'))('playwright-core');
const browser = await chromium.launch({ executablePath: job.chromium, args: ['--no-sandbox', '--disable-gpu'] });
const page = await browser.newPage({ viewport: { width: 2000, height: 1200 }, deviceScaleFactor: 1 });
page.setDefaultTimeout(600000);
await page.goto(job.url);
await page.waitForFunction(() => window.app?.graph && window.app.extensionManager, null, { timeout: 600000 });
await page.waitForTimeout(5000);

async function prepare(shot) {
  const graph = JSON.parse(fs.readFileSync(shot.workflow, 'utf8'));
  await page.evaluate(async ({ graph, widgets }) => {
    await window.app.loadGraphData(graph, true, true);
    for (const node of window.app.graph.nodes) {
      for (const widget of node.widgets ?? []) {
        const value = widgets[`${node.type}.${widget.name}`];
        if (value !== undefined) widget.value = value;
      }
    }
  }, { graph, widgets: shot.widgets ?? {} });
  await page.keyboard.press('Escape');
  if (!shot.run) return;
  await page.evaluate(() => new Promise((done, fail) => {
    for (const name of ['execution_success', 'execution_error', 'execution_interrupted']) {
      window.app.api.addEventListener(name, () => (name === 'execution_success' ? done() : fail(new Error(name))), { once: true });
    }
    window.app.queuePrompt(0);
  }));
}

let last = null;
for (const shot of job.shots) {
  const key = JSON.stringify([shot.workflow, shot.run, shot.widgets]);
  if (key !== last) await prepare(shot);
  last = key;
  await page.waitForTimeout(2000);
  const clip = await page.evaluate((type) => {
    const { canvas, graph } = window.app;
    const boxes = (type ? [graph.nodes.find((n) => n.type === type)] : graph.nodes).map((n) => [n.pos[0], n.pos[1] - 48, n.size[0], n.size[1] + 48]); // with title and badge
    if (!type) boxes.push(...graph.groups.map((g) => [...g._bounding]));
    const margin = type ? 14 : 24;
    const left = Math.min(...boxes.map((b) => b[0])) - margin;
    const top = Math.min(...boxes.map((b) => b[1])) - margin;
    const width = Math.max(...boxes.map((b) => b[0] + b[2])) + margin - left;
    const height = Math.max(...boxes.map((b) => b[1] + b[3])) + (type ? 0 : margin) - top; // the next node's badge begins here
    const scale = type ? 1.2 : Math.min(1800 / width, 1020 / height, 1);
    const area = { x: 120, y: 90, width: width * scale, height: height * scale };
    const place = canvas.canvas.getBoundingClientRect();
    canvas.low_quality_zoom_threshold = 0.1; // text even where the graph is small
    window.app.ui?.settings?.setSettingValue?.('LiteGraph.Canvas.LowQualityRenderingZoomThreshold', 0.1);
    canvas.ds.scale = scale;
    canvas.ds.offset = [(area.x - place.x) / scale - left, (area.y - place.y) / scale - top];
    canvas.deselectAll?.();
    canvas.setDirty(true, true);
    return area;
  }, shot.node ?? null);
  await page.addStyleTag({ content: '.p-toast, .side-tool-bar-container, .comfyui-body-bottom, .graph-canvas-panel .p-buttongroup, .p-buttongroup, .comfy-menu-button-wrapper, .minimap-main-container { visibility: hidden !important }' });
  await page.waitForTimeout(2500);
  await page.screenshot({ path: shot.out, clip });
  console.log(shot.out);
}
await browser.close();
