package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"wdpost/internal/condition"
)

// conditionPages are the lists of all conditions, in each language.
var conditionPages = map[string]func() string{
	"docs/CONDITIONS.md":    english,
	"docs/zh/CONDITIONS.md": chinese,
}

func english() string {
	var b strings.Builder
	b.WriteString(`# Conditions

Everything that keeps a window from being proven stands as a condition, with what it costs and what
to do: in ` + "`/healthz`" + ` (503 while one costs windows or sectors), ` + "`/status`" + `, the metric
` + "`wdpost_condition`" + `, the log, the page, the notifications and ` + "`util doctor`" + `. This list is generated.

| condition | costs | what is wrong | what to do |
|---|---|---|---|
`)
	for _, e := range condition.Catalogue() {
		row(&b, e.Kind, string(e.Cost), sentence(e.What), sentence(e.Remedy))
	}
	return b.String()
}

func chinese() string {
	costs := map[condition.Cost]string{condition.Window: "整个窗口", condition.Sectors: "部分扇区", condition.Money: "费用", condition.None: "暂无"}
	var b strings.Builder
	b.WriteString(`# 问题（condition）一览

凡是会影响按时证明的，都作为 condition 持续显示，附带影响和处理办法。
在 ` + "`/healthz`" + `（影响窗口或扇区时返回 503）、` + "`/status`" + `、指标 ` + "`wdpost_condition`" + `、
日志、网页、通知和 ` + "`util doctor`" + ` 中都能看到。本表由程序生成。

| condition | 影响 | 问题 | 处理办法 |
|---|---|---|---|
`)
	for _, e := range condition.Catalogue() {
		what, remedy, ok := condition.InChinese(e.Kind)
		if !ok {
			what, remedy = "（待写）", sentence(e.Remedy)
		}
		row(&b, e.Kind, costs[e.Cost], what, remedy)
	}
	return b.String()
}

func row(b *strings.Builder, kind condition.Kind, cells ...string) {
	fmt.Fprintf(b, "| `%s` | %s |\n", kind, strings.ReplaceAll(strings.Join(cells, " | "), "\n", " "))
}

// sentence begins with a capital and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// writeConditions makes the lists below root anew.
func writeConditions(root string) error {
	for path, make := range conditionPages {
		if err := os.WriteFile(filepath.Join(root, path), []byte(make()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
