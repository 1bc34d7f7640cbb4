//go:build browser

package dashboard

import "github.com/chromedp/cdproto/runtime"

// awaitPromise makes an evaluation wait for the promise that it gives.
func awaitPromise(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
