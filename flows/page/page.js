// The mask that is painted over a photograph: pointer strokes on the canvas #ll-mask, wherever Gradio puts it.
(() => {
  const COLOUR = "rgb(226, 84, 46)";
  let last = null;
  const canvasOf = (event) => (event.target instanceof HTMLCanvasElement && event.target.id === "ll-mask" ? event.target : null);
  const placeOf = (canvas, event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };
  const stroke = (canvas, from, to) => {
    const pen = canvas.getContext("2d");
    pen.strokeStyle = COLOUR;
    pen.lineCap = "round";
    pen.lineWidth = Math.max(canvas.width, canvas.height) / 9;
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
  };
  document.addEventListener("pointerdown", (event) => {
    const canvas = canvasOf(event);
    if (!canvas) return;
    event.preventDefault();
    last = placeOf(canvas, event);
    stroke(canvas, last, last);
  });
  document.addEventListener("pointermove", (event) => {
    const canvas = canvasOf(event);
    if (!canvas || !last) return;
    const to = placeOf(canvas, event);
    stroke(canvas, last, to);
    last = to;
  });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { last = null; });
  document.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.id === "ll-clear") {
      const canvas = document.getElementById("ll-mask");
      canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    }
  });
})();
