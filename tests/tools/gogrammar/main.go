// Gogrammar answers what Go's own library makes of a text: each line of standard input is a JSON string, each line of
// standard output the trimmed text, the number that strconv.Atoi reads (null: none) and whether net.ParseCIDR takes it.
package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"strconv"
	"strings"
)

type answer struct {
	Trimmed string `json:"trimmed"`
	Number  *int   `json:"number"`
	CIDR    bool   `json:"cidr"`
	Network string `json:"network"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			panic(err)
		}
		var said answer
		said.Trimmed = strings.TrimSpace(text)
		if number, err := strconv.Atoi(text); err == nil {
			said.Number = &number
		}
		if _, network, err := net.ParseCIDR(text); err == nil {
			said.CIDR = true
			said.Network = network.String()
		}
		if err := answers.Encode(said); err != nil {
			panic(err)
		}
	}
}
