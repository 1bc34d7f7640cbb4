package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"wdpost/internal/condition"
)

// call is one HTTP request to a receiver: where to and what.
type call struct {
	url  string
	body any
}

// Kinds are the known kinds of receivers.
var Kinds = []string{"webhook", "dingtalk", "feishu", "wecom", "telegram", "slack"}

// posterOf is how a kind of receiver takes a message.
func posterOf(r Receiver, client *http.Client) (func(context.Context, Message) error, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("its URL is not of the form https://host/path") // which may be a secret: not shown
	}
	form, known := map[string]func(Receiver, Message, time.Time) call{
		"webhook": alertmanager, "dingtalk": dingtalk, "feishu": feishu, "wecom": wecom, "telegram": telegram, "slack": slack,
	}[r.Kind]
	if !known {
		return nil, fmt.Errorf("unknown kind %q: known are %s", r.Kind, strings.Join(Kinds, ", "))
	}
	if r.Kind == "telegram" && r.Chat == "" {
		return nil, errors.New("telegram needs the id of a chat")
	}
	return func(ctx context.Context, m Message) error { return send(ctx, client, form(r, m, time.Now())) }, nil
}

type text struct {
	Content string `json:"content"`
}

// dingtalk is a robot of DingTalk, with a signature where a secret is set.
func dingtalk(r Receiver, m Message, now time.Time) call {
	to := r.URL
	if r.Secret != "" {
		stamp := strconv.FormatInt(now.UnixMilli(), 10)
		mac := hmac.New(sha256.New, []byte(r.Secret))
		mac.Write([]byte(stamp + "\n" + r.Secret))
		to += "&timestamp=" + stamp + "&sign=" + url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return call{to, map[string]any{"msgtype": "text", "text": text{m.Text()}}}
}

// feishu is a robot of Feishu (Lark), with a signature where a secret is set.
func feishu(r Receiver, m Message, now time.Time) call {
	body := map[string]any{"msg_type": "text", "content": map[string]string{"text": m.Text()}}
	if r.Secret != "" {
		stamp := strconv.FormatInt(now.Unix(), 10)
		mac := hmac.New(sha256.New, []byte(stamp+"\n"+r.Secret)) // over nothing: the key is what is signed
		body["timestamp"], body["sign"] = stamp, base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return call{r.URL, body}
}

// wecom is a robot of WeCom; it takes at most 2,048 bytes.
func wecom(r Receiver, m Message, _ time.Time) call {
	return call{r.URL, map[string]any{"msgtype": "text", "text": text{shorten(m.Text(), 2000)}}}
}

// telegram is a bot of Telegram; it takes at most 4,096 characters.
func telegram(r Receiver, m Message, _ time.Time) call {
	return call{strings.TrimSuffix(r.URL, "/") + "/sendMessage", map[string]any{"chat_id": r.Chat, "text": shorten(m.Text(), 4000)}}
}

// slack is an incoming webhook of Slack.
func slack(r Receiver, m Message, _ time.Time) call {
	return call{r.URL, map[string]any{"text": m.Text()}}
}

// shorten cuts a text to a number of bytes, between characters.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// alert is one alert of Alertmanager's webhook.
type alert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// alertmanager is Alertmanager's webhook, version 4. Each condition is an alert
// whose name is its kind.
func alertmanager(r Receiver, m Message, _ time.Time) call {
	status := "resolved"
	alerts := []alert{}
	add := func(c condition.Condition, state string, ends time.Time) {
		if state == "firing" {
			status = state
		}
		labels := map[string]string{"alertname": string(c.Kind), "subject": c.Subject, "cost": string(c.Cost), "instance": m.Host}
		if c.Source != "" {
			labels["process"] = c.Source
		}
		alerts = append(alerts, alert{
			Status: state, Labels: labels, StartsAt: c.Since, EndsAt: ends, Fingerprint: fingerprint(keyOf(c)),
			Annotations: map[string]string{"summary": c.Detail, "remedy": c.Remedy},
		})
	}
	for _, c := range append(m.Began, m.Stands...) {
		add(c, "firing", time.Time{})
	}
	for _, e := range m.Ended {
		add(e.Condition, "resolved", e.At)
	}
	for _, e := range m.Events {
		status = "firing"
		labels := map[string]string{"alertname": e.Name, "instance": m.Host}
		for k, v := range e.Labels {
			labels[k] = v
		}
		alerts = append(alerts, alert{
			Status: "firing", Labels: labels, StartsAt: e.At, Fingerprint: fingerprint(e.Name + e.Text),
			Annotations: map[string]string{"summary": e.Text},
		})
	}
	return call{r.URL, map[string]any{
		"version": "4", "groupKey": "wdpost", "truncatedAlerts": 0, "status": status, "receiver": "wdpost",
		"groupLabels": map[string]string{}, "commonLabels": map[string]string{"instance": m.Host},
		"commonAnnotations": map[string]string{}, "externalURL": "", "alerts": alerts,
	}}
}

func fingerprint(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// verdict is what robots answer with status 200, each with one of these fields.
type verdict struct {
	ErrCode     *int   `json:"errcode"` // DingTalk, WeCom
	ErrMsg      string `json:"errmsg"`
	Code        *int   `json:"code"` // Feishu
	Msg         string `json:"msg"`
	OK          *bool  `json:"ok"` // Telegram
	Description string `json:"description"`
}

func (v verdict) err() error {
	refused := v.ErrCode != nil && *v.ErrCode != 0 || v.Code != nil && *v.Code != 0 || v.OK != nil && !*v.OK
	if !refused {
		return nil
	}
	return fmt.Errorf("%w: %s", errRefused, v.ErrMsg+v.Msg+v.Description)
}

// send posts a call. Its errors do not tell the address, which is a secret.
func send(ctx context.Context, client *http.Client, c call) error {
	body, err := json.Marshal(c.body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("its URL cannot be called")
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return err
	}
	var v verdict
	_ = json.Unmarshal(answer, &v) // Slack and most webhooks answer in plain text
	if err := v.err(); err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%w: %s", errRefused, res.Status)
	}
	return nil
}
