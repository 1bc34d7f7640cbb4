// Package conditions plants faults around the real programs and looks whether
// the operator is told: each must appear as the right condition with a remedy in
// /healthz, in the metric and at a webhook receiver within half a minute, and its
// end too; where nothing is planted, nothing stands.
//
//	make conditions
package conditions
