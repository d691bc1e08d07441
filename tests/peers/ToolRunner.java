import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

import org.apache.kafka.common.utils.Exit;
import org.slf4j.LoggerFactory;

/**
 * Runs command-line tools by their main classes, one after the other in one JVM: a start of the JVM costs more than the command.
 *
 *   java -cp 'kafka/*' ToolRunner.java DIRECTORY
 *
 * Each line of standard input is a class and its arguments, with tabs between; an argument &lt;FILE is the tool's standard input. What
 * command N, counted from 0, prints goes to N.out and N.err in the directory; then "done N STATUS" is printed.
 */
public class ToolRunner {
    /** Unwinds a tool that asked the JVM to end. */
    private static final class Ended extends Error {
        Ended() {
            super(null, null, false, false);
        }
    }

    /** Goes where the command at work prints. Scala's console keeps for good the stream that it finds first. */
    private static final class Switch extends OutputStream {
        private OutputStream target = OutputStream.nullOutputStream();

        synchronized void turn(OutputStream to) {
            target = to;
        }

        @Override
        public synchronized void write(int letter) throws IOException {
            target.write(letter);
        }

        @Override
        public synchronized void write(byte[] bytes, int from, int count) throws IOException {
            target.write(bytes, from, count);
        }

        @Override
        public synchronized void flush() throws IOException {
            target.flush();
        }
    }

    private static final Switch OUT = new Switch();
    private static final Switch ERR = new Switch();

    private static Integer status;

    /** What the tool at work wants done when its JVM ends. */
    private static final List<Runnable> hooks = new ArrayList<>();

    public static void main(String[] words) throws Exception {
        Path directory = Path.of(words[0]);
        PrintStream said = System.out;
        // The log takes the standard error of this moment for good.
        LoggerFactory.getLogger(ToolRunner.class).debug("begin");
        Exit.setExitProcedure((code, message) -> ended(code));
        Exit.setHaltProcedure((code, message) -> ended(code));
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        int number = 0;
        for (String command = commands.readLine(); command != null; command = commands.readLine()) {
            String[] parts = command.split("\t", -1);
            try (PrintStream out = file(directory, number + ".out"); PrintStream err = file(directory, number + ".err")) {
                OUT.turn(out);
                ERR.turn(err);
                System.setIn(input(parts));
                run(parts[0], Arrays.stream(parts).skip(1).filter(part -> !part.startsWith("<")).toArray(String[]::new));
                OUT.turn(out);
                ERR.turn(err);
                hooks.forEach(Runnable::run);
                hooks.clear();
                OUT.turn(OutputStream.nullOutputStream());
                ERR.turn(OutputStream.nullOutputStream());
            }
            said.println("done " + number + " " + status);
            said.flush();
            number++;
        }
        Runtime.getRuntime().halt(0);
    }

    private static PrintStream file(Path directory, String name) throws Exception {
        return new PrintStream(new FileOutputStream(directory.resolve(name).toFile()), true, StandardCharsets.UTF_8);
    }

    private static InputStream input(String[] parts) throws Exception {
        Optional<String> file = Arrays.stream(parts).filter(part -> part.startsWith("<")).findFirst();
        return file.isPresent() ? new FileInputStream(file.get().substring(1)) : InputStream.nullInputStream();
    }

    private static void run(String tool, String[] arguments) throws Exception {
        status = null;
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
            if (status == null) {
                status = 0;
            }
        } catch (InvocationTargetException failed) {
            if (status == null) {
                // What a JVM does with an exception that nobody catches.
                failed.getCause().printStackTrace();
                status = 1;
            }
        }
    }

    /** The first end counts: a real JVM would run no further. What is printed from here on is lost with it. */
    private static void ended(int code) {
        if (status == null) {
            status = code;
            OUT.turn(OutputStream.nullOutputStream());
            ERR.turn(OutputStream.nullOutputStream());
        }
        throw new Ended();
    }
}
