// Probe is the one program in the images that the smoke tests run. Its arguments are steps, done in their order:
//
//	print LINES BYTES   writes LINES numbered lines of BYTES bytes each
//	env                 writes the environment, sorted
//	user                writes "uid=U gid=G"
//	sleep DURATION      for example 1500ms
//	hang                never goes on
//	trap                from here on SIGTERM ends it with 0, as a careful service does
//	ignore              from here on SIGTERM is ignored
//	serve PORT          from here on answers HTTP; /healthz says 200
//	forward DEVICE ADDRESS TARGET   from here on passes connections that come in by DEVICE to ADDRESS on to TARGET
//	sicken              from here on /healthz says 503
//	eat                 takes memory until it is killed
//	write PATH          writes a file; ends with 1 when it cannot
//	siblings NAME=DIGEST   ends with 1 unless TIDEGATE_IMAGE_NAME ends with @DIGEST
//	exit CODE           ends
//	crash               panics: ends with 2 after a trace
//	pause               what the pod's sandbox needs: reaps children until SIGTERM or SIGINT
//
// After the last step it ends with 0. A step it does not know ends it with 64.
package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	exitRefused = 1
	exitUsage   = 64
)

var sick atomic.Bool

func main() {
	words := os.Args[1:]
	next := func() string {
		if len(words) == 0 {
			fail(exitUsage, "a step lacks its argument")
		}
		word := words[0]
		words = words[1:]
		return word
	}
	for len(words) > 0 {
		step(next(), next)
	}
}

func step(name string, next func() string) {
	switch name {
	case "print":
		printLines(number(next()), number(next()))
	case "env":
		environment := os.Environ()
		slices.Sort(environment)
		say(strings.Join(environment, "\n"))
	case "user":
		say("uid=" + strconv.Itoa(os.Getuid()) + " gid=" + strconv.Itoa(os.Getgid()))
	case "sleep":
		duration, err := time.ParseDuration(next())
		check(err)
		time.Sleep(duration)
	case "hang":
		// Not an empty select: the runtime would call it a deadlock and end.
		for {
			time.Sleep(time.Hour)
		}
	case "trap":
		trap()
	case "ignore":
		signal.Ignore(syscall.SIGTERM)
	case "serve":
		serve(next())
	case "forward":
		forward(next(), next(), next())
	case "sicken":
		sick.Store(true)
	case "eat":
		eat()
	case "write":
		if err := os.WriteFile(next(), []byte("written\n"), 0o644); err != nil {
			fail(exitRefused, err.Error())
		}
	case "siblings":
		sibling(next())
	case "exit":
		os.Exit(number(next()))
	case "crash":
		panic("crashed as asked")
	case "pause":
		pause()
	default:
		fail(exitUsage, "unknown step "+strconv.Quote(name))
	}
}

func printLines(count, size int) {
	for i := 1; i <= count; i++ {
		line := "line " + strconv.Itoa(i) + " "
		say(line + strings.Repeat(".", max(0, size-len(line)-1)))
	}
}

func trap() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		say("SIGTERM: ending with 0")
		os.Exit(0)
	}()
}

// Plain text by hand: net/http would make the program four times as large.
func serve(port string) {
	listener, err := net.Listen("tcp", ":"+port)
	check(err)
	go func() {
		for {
			connection, err := listener.Accept()
			check(err)
			go answer(connection)
		}
	}()
	say("serving on " + port)
}

func answer(connection net.Conn) {
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	request := make([]byte, 4096)
	length, err := connection.Read(request)
	if err != nil {
		return
	}
	status := "404 Not Found"
	if strings.HasPrefix(string(request[:length]), "GET /healthz ") {
		status = "200 OK"
		if sick.Load() {
			status = "503 Service Unavailable"
		}
	}
	_, _ = connection.Write([]byte("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

// Bound to the device, it is not there for packets that come in by any other, whatever address they are sent to.
func forward(device, address, target string) {
	config := net.ListenConfig{Control: func(_, _ string, connection syscall.RawConn) error {
		var refused error
		err := connection.Control(func(descriptor uintptr) {
			refused = syscall.SetsockoptString(int(descriptor), syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE, device)
		})
		return errors.Join(err, refused)
	}}
	listener, err := config.Listen(context.Background(), "tcp", address)
	check(err)
	go func() {
		for {
			connection, err := listener.Accept()
			check(err)
			go pass(connection.(*net.TCPConn), target)
		}
	}()
	say("forwarding " + address + " to " + target)
}

func pass(client *net.TCPConn, target string) {
	defer client.Close()
	connection, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		say(err.Error())
		return
	}
	server := connection.(*net.TCPConn)
	defer server.Close()
	answered := make(chan struct{})
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.CloseWrite()
		close(answered)
	}()
	_, _ = io.Copy(server, client)
	_ = server.CloseWrite()
	<-answered
}

func eat() {
	const piece = 8 << 20
	var eaten [][]byte
	for {
		memory := make([]byte, piece)
		// Only pages that were written to are taken.
		for at := 0; at < piece; at += 4096 {
			memory[at] = 1
		}
		eaten = append(eaten, memory)
	}
}

func sibling(expected string) {
	name, digest, found := strings.Cut(expected, "=")
	if !found {
		fail(exitUsage, "siblings wants NAME=DIGEST")
	}
	if actual := os.Getenv("TIDEGATE_IMAGE_" + name); !strings.HasSuffix(actual, "@"+digest) {
		fail(exitRefused, "cannot work with "+name+" "+strconv.Quote(actual)+", only with "+digest)
	}
}

func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || errors.Is(err, syscall.ECHILD) {
				break
			}
		}
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fail(exitUsage, err.Error())
	}
}

func say(line string) {
	_, _ = os.Stdout.WriteString(line + "\n")
}

func fail(code int, message string) {
	_, _ = os.Stderr.WriteString("probe: " + message + "\n")
	os.Exit(code)
}
