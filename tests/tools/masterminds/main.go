// Writes what Flux's own code answers: Masterminds/semver for ranges, fluxcd/pkg/version for tags. The tables are
// committed, and the same seed gives the same tables:
//
//	cd tests/tools/masterminds && go run . ../../corpus/semver
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/fluxcd/pkg/version"
)

const (
	rangeCount       = 600 // each with versionsPerRange versions: 2,400 rows
	versionsPerRange = 4
	pairCount        = 800
)

var (
	random = rand.New(rand.NewPCG(2026, 11))

	numbers     = []string{"0", "0", "0", "1", "1", "1", "2", "2", "3", "4", "5", "10", "11", "18446744073709551615"}
	oddNumbers  = []string{"01", "007", "18446744073709551616", "", "1x", "|"}
	wildcards   = []string{"x", "X", "*"}
	preReleases = []string{
		"0", "1", "9", "10", "alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1", "rc-1", "BETA",
		"alpha.1.2", "20260101", "99999999999999999999", "100000000000000000000", "-", "x",
	}
	oddPreReleases = []string{"01", "alpha.01", "", "a..b", "a_b"}
	operators      = []string{"", "", "", "=", "!=", ">", "<", ">=", ">=", "=>", "<=", "=<", "~", "~", "~>", "^", "^", "^"}
	oddOperators   = []string{"==", "=!", "><", "!", "=~", "~^"}
	joints         = []string{" ", " ", ", ", ",", " , ", "  "}
	oddJoints      = []string{"", ",,", ", ,", ";", "|", " - "}
)

func pick(from []string) string { return from[random.IntN(len(from))] }

func often(percent int) bool { return random.IntN(100) < percent }

// either picks from the odd ones in a few cases of a hundred.
func either(usual, odd []string) string {
	if often(2) {
		return pick(odd)
	}
	return pick(usual)
}

func tail() string {
	text := ""
	if often(25) {
		text += "-" + either(preReleases, oddPreReleases)
	}
	if often(4) {
		text += "+" + pick([]string{"build", "build.7", "001"})
	}
	return text
}

// A version as a range names it.
func partial() string {
	if often(3) {
		return pick(wildcards) + tail()
	}
	parts := []string{either(numbers, oddNumbers)}
	for len(parts) < 3 && often(75) {
		if often(12) {
			parts = append(parts, pick(wildcards))
		} else {
			parts = append(parts, either(numbers, oddNumbers))
		}
	}
	if often(1) {
		parts = append(parts, "4")
	}
	prefix := ""
	if often(8) {
		prefix = "v"
	}
	return prefix + strings.Join(parts, ".") + tail()
}

func comparison() string {
	if often(12) {
		return partial() + pick([]string{" - ", " - ", "  -  ", " -", "-"}) + partial()
	}
	return either(operators, oddOperators) + pick([]string{"", "", "", " "}) + partial()
}

func rangeText() string {
	groups := []string{}
	for {
		members := comparison()
		for often(35) {
			members += either(joints, oddJoints) + comparison()
		}
		groups = append(groups, members)
		if !often(25) {
			return strings.Join(groups, pick([]string{" || ", "||", " ||"}))
		}
	}
}

func tag() string {
	parts := []string{}
	for range 3 {
		parts = append(parts, either(numbers, oddNumbers))
	}
	if often(2) {
		parts = parts[:2]
	}
	prefix := ""
	if often(10) {
		prefix = pick([]string{"v", "v", "v", "V", "vv"})
	}
	return prefix + strings.Join(parts, ".") + tail()
}

// A version near one that the range names: random ones would seldom tell ranges apart.
func tagNear(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,|=!<>~^", r) })
	if len(words) == 0 || often(15) {
		return tag()
	}
	near, pre, _ := strings.Cut(strings.TrimPrefix(pick(words), "v"), "-")
	near, _, _ = strings.Cut(near, "+")
	parts := strings.Split(near, ".")
	for len(parts) < 3 {
		parts = append(parts, pick(numbers))
	}
	for i, part := range parts {
		if part == "x" || part == "X" || part == "*" || often(20) {
			parts[i] = pick(numbers)
		}
	}
	text = strings.Join(parts, ".")
	switch {
	case pre != "" && often(50):
		text += "-" + pre
	case often(20):
		text += "-" + pick(preReleases)
	}
	return text
}

// What Flux answers when a policy with this range sees this tag.
func answer(text, tag string) string {
	constraint, err := semver.NewConstraint(text)
	if err != nil {
		return "no range"
	}
	parsed, err := version.ParseVersion(tag)
	switch {
	case err != nil:
		return "no version"
	case constraint.Check(parsed):
		return "yes"
	default:
		return "no"
	}
}

func order(a, b string) string {
	left, err := version.ParseVersion(a)
	if err != nil {
		return "no version"
	}
	right, err := version.ParseVersion(b)
	if err != nil {
		return "no version"
	}
	return [...]string{"older", "equal", "newer"}[left.Compare(right)+1]
}

// Ranges whose reading depends on a detail of the grammar, beside the random ones.
var chosen = []string{
	"", " ", "*", "x", "X", "v*", "1", "v1", "V1", "1.2", "1.2.3", "1.2.3.4", "=1.2.3", "= 1.2.3", "==1.2.3", ">=1.2<2",
	">=1.2 <2", ">=1.2,<2", ">=1.2, <2", ">=1.2 , <2", ">=1.2,,<2", ",1", "1,", "1 ||", "|| 1", "1 | 2", "1|2", "1 || || 2",
	"1||2 - 3", "1 ||2 - 3", "1 || 2 - 3", "1 - 2||3", "1 - 2 || 3", "1 - 2 - 3", "1 -2", "1- 2", "1-2", "1-2 - 3", ">1 - 2",
	"1.2 - 1.4.5", "2.3.4 - 4.5", "1 - *", "* - 2", "1 - 2, 3", "1.2-1.4.5", "^*", "~*", "~>*", ">=*", "<=*", "!=*", "<*", ">*",
	"=*", "*-0", "~0.0.0", "^0.0.0", "~0", "~0.0", "^0", "^0.0", "^0.0.3", "^0.2.3", "1.x.5", "x.2.3", "1.*.|", "1.xx", "*.1|2",
	">=1.2.3-0", ">=1.2.3-0 <2", ">1.2.3 || >=1.2.3-0", "~1.2-beta", "^1-beta", "!=1.2-beta", "!=1-beta", "1.x-beta",
	"=>1.2", "=<1.2", ">= 1", "> = 1", "~ 1.2", "~ > 1.2", "<1.2.3-beta", "1.2.3+build", "1.2+build", "01.2.3", "1.2.3-01",
	">=\t1.2\n<2", "1.2.3\u00a0", "\u0661.2", ">=1.0.0 !=1.2.3", "18446744073709551616", "^18446744073709551615",
}

func write(path string, header string, rows [][3]string) {
	file, err := os.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	buffer := bufio.NewWriter(file)
	fmt.Fprintln(buffer, header)
	for _, row := range rows {
		line, err := json.Marshal(row)
		if err != nil {
			log.Fatal(err)
		}
		text := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(line))
		fmt.Fprintln(buffer, text)
	}
	if err := buffer.Flush(); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go run . FOLDER")
	}
	source := "# Written by tests/tools/masterminds from Masterminds/semver v3.5.0 and fluxcd/pkg/version v0.16.0. "
	var ranges, versions [][3]string
	texts := append([]string{}, chosen...)
	for range rangeCount {
		texts = append(texts, rangeText())
	}
	for _, text := range texts {
		for range versionsPerRange {
			tag := tagNear(text)
			ranges = append(ranges, [3]string{text, tag, answer(text, tag)})
		}
	}
	for range pairCount {
		a := tag()
		b := tagNear(a)
		versions = append(versions, [3]string{a, b, order(a, b)})
	}
	write(filepath.Join(os.Args[1], "ranges.jsonl"), source+"Range, tag, answer.", ranges)
	write(filepath.Join(os.Args[1], "versions.jsonl"), source+"Two tags, and what the first is.", versions)
}
