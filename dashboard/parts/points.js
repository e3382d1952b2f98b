// Draws one figure and takes every newer one into the same chart: what was zoomed into stays, and
// a click is heard whatever is being drawn. Colours come from points.css, so a theme is its own.
let loading

function library(address) {
  loading ??= new Promise((done, fail) => {
    const script = document.createElement("script")
    script.src = new URL(address, document.baseURI).href
    script.onload = () => done(window.Plotly)
    script.onerror = () => fail(new Error(`${address} cannot be loaded`))
    document.head.append(script)
  })
  return loading
}

const WHOLE_SCREEN = {
  name: "Fullscreen",
  title: "Fullscreen",
  icon: {
    width: 24,
    height: 24,
    path: "M5 14H3v7h7v-2H5v-5zM3 10h2V5h5V3H3v7zm16 9h-5v2h7v-7h-2v5zM14 3v2h5v5h2V3h-7z",
  },
  click: (chart) => (document.fullscreenElement ? document.exitFullscreen() : chart.requestFullscreen()),
}
const CONFIG = {
  displaylogo: false,
  showSendToCloud: false,
  modeBarButtonsToRemove: ["lasso2d", "sendChartToCloud"],
  modeBarButtonsToAdd: ["select2d", WHOLE_SCREEN],
}

// Under a finger a swipe scrolls the page, and a bar of small buttons is in the way.
const IS_TOUCHED = matchMedia("(pointer: coarse)")

const clicked = (event) => event.points.filter((p) => p.id).map((p) => Number(p.id)).slice(0, 1)
const edges = (event) => (event?.range ? [...event.range.x, ...event.range.y] : [])

function listen(chart) {
  const fit = () => chart.clientWidth && window.Plotly.relayout(chart, size(chart))
  chart.sizes = new ResizeObserver(fit)
  chart.sizes.observe(chart)
  chart.on("plotly_click", (event) => chart.tell("picked", clicked(event)))
  // Drawing a figure in which some are chosen says so too, which is nobody's wish.
  const box = (event) => chart.drawing || chart.tell("boxed", edges(event))
  chart.on("plotly_selected", box)
  chart.on("plotly_deselect", box)
}

function size(chart) {
  const whole = document.fullscreenElement === chart
  return { width: chart.clientWidth, height: whole ? chart.clientHeight : chart.wanted.layout.height }
}

async function draw(chart, address) {
  const Plotly = await library(address)
  if (!chart.isConnected) return
  const { data, layout } = chart.wanted
  const clear = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" }
  const { fontFamily: family, color } = getComputedStyle(chart)
  const font = { family, color, size: 12 }
  const touched = IS_TOUCHED.matches ? { dragmode: false } : {}
  chart.drawing = (chart.drawing ?? 0) + 1
  try {
    await Plotly.react(chart, data, { ...layout, ...clear, ...touched, font, ...size(chart) }, {
      ...CONFIG,
      displayModeBar: IS_TOUCHED.matches ? false : "hover",
    })
  } finally {
    chart.drawing -= 1
  }
  if (!chart.sizes) listen(chart)
}

export default function ({ data, parentElement, setTriggerValue }) {
  const chart = parentElement.querySelector(".front-chart")
  chart.setAttribute("aria-label", data.alt)
  chart.tell = (what, numbers) => setTriggerValue(what, numbers)
  if (chart.text !== data.figure) {
    chart.text = data.figure
    chart.wanted = JSON.parse(data.figure)
    draw(chart, data.library).catch((error) => {
      chart.textContent = `The chart cannot be drawn: ${error.message}`
    })
  }
  return () => {
    chart.sizes?.disconnect()
    if (window.Plotly) window.Plotly.purge(chart)
  }
}
