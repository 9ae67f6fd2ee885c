/* The search of the site runs in a Web Worker, which browsers refuse for pages opened from a folder.
   There, this runs the worker's script in a hidden frame instead. The theme expects this class name. */
if (location.protocol === "file:") {
  window.Worker = window.IFrameWorker = class IFrameWorker extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.frame = frame.contentWindow
      this.waiting = []
      // The script of the worker posts to whoever made it.
      const created = this.frame.document
      created.open()
      created.write("<!doctype html><title>search</title>")
      created.close()
      this.frame.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      this.frame.importScripts = (...urls) =>
        urls.reduce((before, source) => before.then(() => this.load(source)), Promise.resolve())
      this.load(url).then(() => {
        this.waiting.splice(0).forEach((data) => this.deliver(data))
        this.waiting = null
      })
    }

    load(url) {
      return new Promise((resolve, reject) => {
        const script = this.frame.document.createElement("script")
        script.onload = resolve
        script.onerror = reject
        script.src = String(url)
        this.frame.document.head.append(script)
      })
    }

    // One message at a time, so that what the script does on the first is done before the second.
    deliver(data) {
      setTimeout(() => this.frame.dispatchEvent(new MessageEvent("message", { data })))
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data)
      else this.deliver(data)
    }

    terminate() {
      this.frame.frameElement.remove()
    }
  }
}
