// Package dashboard is the page on the wall: one address, live, that answers
// "is the window safe, and if not, why".
//
// Pages are HTML made on the server from embedded templates, useful without
// scripts; with them, a stream of server-sent events tells the browser that
// something changed, and the part that changed is fetched anew. Nothing is loaded
// from elsewhere. What a page shows comes from a Source as one View, made once
// for all viewers; what an operator does goes through a Doer, which asks for the
// right of the request.
//
//	manager ──View, Timeline, History──▶ Source ──▶ page ──▶ browser
//	browser ──POST──▶ Doer ──▶ manager
//
// uPlot, htmx and its server-sent-events extension lie in assets with their
// licences; the versions stand in assets/LICENSES.txt.
package dashboard

import (
	"context"
	"time"
)

// Source is what the pages show. Its methods are quick: they read what is in
// memory or in the ledger, and honour ctx.
type Source interface {
	// View is the state of everything now.
	View(ctx context.Context) View
	// Timeline is the way of one deadline. ErrNotFound for one nobody knows.
	Timeline(ctx context.Context, miner string, periodStart int64, deadline uint64) (Timeline, error)
	// History lists the past deadlines of a miner since a moment, oldest first;
	// an empty miner means all.
	History(ctx context.Context, miner string, since time.Time) ([]Past, error)
	// Changed returns a channel that is closed at the next change of the View.
	Changed() <-chan struct{}
}

// Doer carries out what an operator asks for on a page. It writes who asked for
// what into the log and the history.
type Doer interface {
	Do(ctx context.Context, a Action) error
}

// Action is one thing that an operator can ask for. Which ones a row offers
// stands in the View.
type Action struct {
	Name    string // retry-task, drain-slave, recover, replace-message, silence
	Subject string // task id, slave, "t01000/3/17", message id, "kind/subject"
	Who     string // set by the page: address or token name of the asker
}
