// What the page shows after each of some runs; started by test_messages.py with one JSON argument:
// { url, playwright, chromium, nodes2, runs: [prompt in API format] }. Prints one JSON list: the toasts of each run.
import path from 'node:path';
import { createRequire } from 'node:module';

const job = JSON.parse(process.argv[2]);
const { chromium } = createRequire(path.join(job.playwright, 'resolve.js'))('playwright-core');
const browser = await chromium.launch({ executablePath: job.chromium, args: ['--no-sandbox', '--disable-gpu'] });
const shown = [];
try {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.setDefaultTimeout(120000);
  await page.goto(job.url);
  await page.waitForFunction(() => window.app?.graph && window.app.extensionManager?.toast && window.LiteGraph?.registered_node_types.MagicDanceSample);
  await page.waitForTimeout(3000);
  await page.keyboard.press('Escape'); // the templates, which open at the first start
  await page.evaluate((on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on), job.nodes2);
  await page.evaluate(() => { // toasts fade: keep them
    const { toast } = window.app.extensionManager;
    const add = toast.add.bind(toast);
    window.toasts = [];
    toast.add = (message) => { window.toasts.push(message); add(message); };
    const { api } = window.app; // what app.queuePrompt returns for a refused prompt differs between versions
    const queue = api.queuePrompt;
    api.queuePrompt = async function (...args) {
      try {
        return await queue.apply(this, args);
      } catch (error) {
        window.refused();
        throw error;
      }
    };
  });
  for (const prompt of job.runs) {
    await page.evaluate(async (prompt) => {
      window.toasts.length = 0;
      await window.app.loadApiJson(prompt, 'test');
      for (const node of window.app.graph.nodes) {
        for (const widget of node.widgets ?? []) if (widget.name === 'control_after_generate') widget.value = 'fixed';
      }
      await new Promise((done) => {
        for (const name of ['execution_success', 'execution_error']) window.app.api.addEventListener(name, done, { once: true });
        window.refused = done;
        window.app.queuePrompt(0);
      });
    }, prompt);
    await page.waitForTimeout(1500);
    const seen = await page.evaluate(() => window.toasts.map(({ severity, summary, detail }) => ({
      severity, summary, detail, visible: document.body.innerText.replace(/\s+/g, ' ').includes(detail),
    })));
    shown.push(seen);
    await page.keyboard.press('Escape'); // dialogs of older frontends
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(shown));
