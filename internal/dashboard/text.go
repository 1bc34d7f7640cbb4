package dashboard

import (
	"net/http"
	"strings"
)

// lang is the language of a page.
type lang string

// langOf takes the cookie's choice, then the browser's first known language.
func langOf(r *http.Request) lang {
	if c, err := r.Cookie("lang"); err == nil && (c.Value == "zh" || c.Value == "en") {
		return lang(c.Value)
	}
	for _, part := range strings.Split(r.Header.Get("Accept-Language"), ",") {
		switch tag := strings.ToLower(strings.TrimSpace(strings.SplitN(part, ";", 2)[0])); {
		case strings.HasPrefix(tag, "zh"):
			return "zh"
		case strings.HasPrefix(tag, "en"):
			return "en"
		}
	}
	return "en"
}

// T is the text in the page's language. The key is the English text.
func (l lang) T(english string) string {
	if l == "zh" {
		if zh, ok := chinese[english]; ok {
			return zh
		}
	}
	return english
}

// Tag is the language for the html element.
func (l lang) Tag() string {
	if l == "zh" {
		return "zh-CN"
	}
	return "en"
}

// actionTexts are the questions before an action is done.
var actionTexts = map[string]string{
	"retry-task":      "Try this task again?",
	"drain-slave":     "Give this slave no more tasks?",
	"recover":         "Declare this sector recovered?",
	"replace-message": "Replace this message with a higher price?",
	"silence":         "Send no notifications about this condition for a day?",
}

// chinese are the texts as an operator writes them. Words of the chain stay as
// they are in the field: deadline, partition, message, gas, worker.
var chinese = map[string]string{
	"Now": "现在", "Day": "一天", "Stores": "存储与扇区", "Slaves": "Slave 与任务", "Messages": "消息与余额", "History": "历史",
	"All windows can be proven": "一切正常，WindowPoSt 可按时完成", "Windows are at risk": "有窗口面临掉算力风险",
	"Some sectors are not proven": "部分扇区无法证明", "Windows can be proven; see the notes": "可正常证明，但有需要注意的事项",
	"Conditions": "当前问题", "nothing stands": "没有", "What to do": "处理办法", "since": "始于", "for": "已持续", "silence": "静音",
	"Open windows": "正在证明的窗口", "Next windows": "接下来的窗口", "no window is open": "当前没有打开的窗口",
	"deadline": "deadline", "closes in": "距关闭", "opens in": "距打开", "partitions": "Partition", "sectors": "扇区", "skipped": "跳过",
	"usually": "通常用时", "on": "在", "and": "另有", "more": "个",
	"waiting": "等待", "proving": "证明中", "ready": "已证明", "submitting": "提交中", "sent": "已发送", "executed": "已上链", "landed": "已确认", "proven": "已完成", "missed": "掉算力",
	"proven by another sender": "由其他发送方证明", "nothing to prove": "无需证明", "all sectors faulty": "全部为错误扇区", "open": "进行中", "next": "下一个",
	"window time passed": "窗口已过时间",
	"Miners":             "矿工", "miner": "矿工", "power": "算力", "faults": "错误扇区", "the last day": "最近一天", "trouble": "问题",
	"Nodes": "链节点", "node": "节点", "height": "高度", "behind the clock": "落后（高度）", "in use": "使用中",
	"epoch": "高度", "network": "网络", "base fee": "基础费率", "build": "版本",
	"store": "存储", "path": "路径", "capacity": "容量", "latency": "读取延迟", "stuck": "卡住的读取", "breaker": "熔断",
	"closed": "正常", "half-open": "试探中",
	"Sectors that are not healthy": "异常扇区", "all sectors are healthy": "没有异常扇区",
	"sector": "扇区", "partition": "Partition", "state": "状态", "reason": "原因", "faulty": "错误", "recovering": "恢复中",
	"slave": "slave", "cores": "核数", "memory": "内存", "sector size": "扇区大小", "proves": "正在证明", "last seen": "最近心跳",
	"idle": "空闲", "draining": "停止接收任务", "gone": "已断开",
	"Queue": "任务队列", "no task waits or runs": "没有等待或运行中的任务", "task": "任务", "attempt": "尝试次数", "progress": "进度",
	"no slave is known": "没有 slave",
	"message":           "消息", "kind": "类型", "sender": "发送地址", "fee cap": "fee cap", "premium": "premium", "age": "已等待", "replaced": "替换次数",
	"no message is on its way": "没有未确认的消息", "must land in": "最迟上链", "exit code": "退出码",
	"Balances": "余额", "address": "地址", "role": "用途", "amount": "余额", "days left": "可用天数",
	"owner": "owner", "worker": "worker", "control": "control",
	"days": "天", "all miners": "全部矿工", "show": "显示", "download CSV": "下载 CSV",
	"margin to the close, minutes": "距关闭的余量（分钟）", "proving time, minutes": "证明用时（分钟）", "gas, millions": "gas（百万）",
	"verdict": "结果", "closed at": "关闭时间", "margin": "余量", "proving time": "证明用时", "fee": "费用",
	"The way of the deadline": "deadline 全过程", "time": "时间", "what": "事件", "Skipped sectors": "跳过的扇区", "none": "无",
	"proof_made": "证明完成", "proof_failed": "证明失败", "message_pushed": "消息已发送", "message_refused": "消息被拒绝", "message_raised": "提高费用", "message_given_up": "放弃消息", "message_ended": "消息结束", "ended": "结束", "hangs": "卡住", "fails": "读取失败",
	"Yes": "确定", "No, back": "取消", "You need a token with the right to write.": "需要有写权限的 token。",
	"This page cannot be shown": "无法显示此页", "dark": "深色", "light": "浅色",
	"ok": "正常", "skip to content": "跳到正文",
	"Try this task again?": "重新执行这个任务？", "Give this slave no more tasks?": "不再给这个 slave 分配任务？",
	"Declare this sector recovered?": "声明恢复这个扇区？", "Replace this message with a higher price?": "提高费用替换这条消息？",
	"Send no notifications about this condition for a day?": "一天内不再发送此问题的通知？",
	"retry-task":      "重试",
	"drain-slave":     "停止分配",
	"recover":         "声明恢复",
	"replace-message": "替换消息",
	"costs":           "影响", "window": "窗口", "money": "费用", "post": "WindowPoSt", "recovery": "恢复声明",
}
