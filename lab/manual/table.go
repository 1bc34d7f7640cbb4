package main

import (
	"fmt"
	"regexp"
	"strings"
)

// manual is one manual in one language.
type manual struct {
	path  string
	head  string            // first cell of the tables of keys
	kinds map[string]string // names of types; a type that is absent is named as it is
	todo  string            // meaning of a key that nobody described; empty: its comment
}

var manuals = []manual{
	{path: "docs/CONFIG.md", head: "key"},
	{path: "docs/zh/CONFIG.md", head: "配置项", todo: "（待写）", kinds: map[string]string{
		"duration": "时长", "text": "文本", "number": "数字", "true/false": "是/否", "size": "大小",
		"address": "地址", "list of addresses": "地址列表", "list of texts": "文本列表",
		"list of numbers": "数字列表", "table of texts": "文本表", "text or list": "文本或列表",
		"endpoint": "接口地址", "endpoint or list": "接口地址或列表", "epochs": "高度数", "seconds": "秒",
		"host:port": "主机:端口", "host:port or list": "主机:端口或列表", "file": "文件",
	}},
}

var (
	fileHeading    = regexp.MustCompile("^## `?([a-z_-]+\\.(?:cfg|toml))`?$")
	sectionHeading = regexp.MustCompile("^### `\\[+([A-Za-z_.]+)\\]+`")
)

// generate returns the manual's text with the tables of keys made anew.
func (m manual) generate(text string, comments map[string]string) (string, error) {
	var out []string
	file, section := "", ""
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if strings.HasPrefix(line, "#") {
			section = ""
			if h := fileHeading.FindStringSubmatch(line); h != nil {
				file = h[1]
			} else if h := sectionHeading.FindStringSubmatch(line); h != nil {
				section = h[1]
			} else if strings.HasPrefix(line, "## ") {
				file = ""
			}
		}
		out = append(out, line)
		if file == "" || section == "" || !strings.HasPrefix(line, "| "+m.head+" |") {
			continue
		}
		out = append(out, lines[i+1]) // the rule under the head
		i += 2
		old := map[string][]string{}
		for ; i < len(lines) && strings.HasPrefix(lines[i], "|"); i++ {
			cells := splitRow(lines[i])
			if len(cells) != 4 {
				return "", fmt.Errorf("line %d: a row of %d cells, not 4", i+1, len(cells))
			}
			for _, name := range strings.FieldsFunc(cells[0], func(r rune) bool { return strings.ContainsRune("`, 、", r) }) {
				old[name] = cells
			}
		}
		i--
		keys, err := sectionKeys(file, section)
		if err != nil {
			return "", err
		}
		for _, k := range keys {
			out = append(out, m.row(k, old[k.name], comments[k.owner]))
		}
	}
	return strings.Join(out, "\n"), nil
}

// row is one key's row; old is the one that stood there, nil for a new key.
func (m manual) row(k key, old []string, comment string) string {
	fallback, meaning := k.fallback, m.todo
	if old != nil {
		meaning = old[3]
		if fallback == "" {
			fallback = old[2]
		}
	} else if meaning == "" {
		meaning = comment
	}
	kind := k.kind
	if name := m.kinds[kind]; name != "" {
		kind = name
	}
	return strings.Join(strings.Fields(fmt.Sprintf("| `%s` | %s | %s | %s |", k.name, kind, fallback, meaning)), " ")
}

// splitRow cuts a table's row at the bars outside code.
func splitRow(line string) []string {
	var cells []string
	cell, code := "", false
	for _, r := range strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|") {
		if r == '`' {
			code = !code
		}
		if r == '|' && !code {
			cells = append(cells, strings.TrimSpace(cell))
			cell = ""
			continue
		}
		cell += string(r)
	}
	return append(cells, strings.TrimSpace(cell))
}
