addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((box) => { box.open = true; }));
