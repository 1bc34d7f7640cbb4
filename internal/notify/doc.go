// Package notify tells people what stands between a window and its proof, for
// those who run no Prometheus: by a webhook in Alertmanager's form and by the
// robots of DingTalk, Feishu, WeCom, Telegram and Slack.
//
// What changes within a few seconds is told in one message. A condition that is
// over before it was told is not told at all; one that stands is told again at
// long intervals; its end is told to whom its beginning was. A message that
// cannot be delivered is tried again, newer changes join it.
//
//	board ──Changed──▶ Notifier ──one message for each receiver──▶ http
//	poster ──Event──▶
//
// Addresses of robots are secrets: they appear in no log line and no error.
package notify
