package org.metagov.client;

import io.grpc.Server;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import org.metagov.v1.AcknowledgeEventsRequest;
import org.metagov.v1.AcknowledgeEventsResponse;
import org.metagov.v1.Event;
import org.metagov.v1.EventServiceGrpc.EventServiceImplBase;
import org.metagov.v1.SubscriptionServiceGrpc.SubscriptionServiceImplBase;
import org.metagov.v1.WatchEventsRequest;
import org.metagov.v1.WatchEventsResponse;

/** A gateway that answers each watch as it was told, the last way for ever. */
final class FakeGateway implements AutoCloseable {
    final List<WatchEventsRequest> asked = new CopyOnWriteArrayList<>();
    final List<String> acknowledged = new CopyOnWriteArrayList<>();
    private final Queue<Consumer<StreamObserver<WatchEventsResponse>>> answers = new ArrayDeque<>();
    private final Server server;
    final Metagov client;

    FakeGateway() throws IOException {
        var name = InProcessServerBuilder.generateName();
        server =
                InProcessServerBuilder.forName(name)
                        .addService(new Events())
                        .addService(new Subscriptions())
                        .build()
                        .start();
        client = new Metagov(new Line(InProcessChannelBuilder.forName(name).build()));
    }

    FakeGateway answers(Consumer<StreamObserver<WatchEventsResponse>> answer) {
        answers.add(answer);
        return this;
    }

    /** A message with these events, named as their cursors are, that reaches this place. */
    static WatchEventsResponse message(String reached, String... events) {
        var message = WatchEventsResponse.newBuilder().setCursor(reached);
        for (var event : events) {
            message.addEvents(Event.newBuilder().setEventId(event).setCursor(event));
        }
        return message.build();
    }

    @Override
    public void close() {
        client.close();
        server.shutdownNow();
    }

    private final class Events extends EventServiceImplBase {
        @Override
        public void watchEvents(
                WatchEventsRequest request, StreamObserver<WatchEventsResponse> stream) {
            asked.add(request);
            var answer = answers.size() > 1 ? answers.remove() : answers.element();
            answer.accept(stream);
        }
    }

    private final class Subscriptions extends SubscriptionServiceImplBase {
        @Override
        public void acknowledgeEvents(
                AcknowledgeEventsRequest request,
                StreamObserver<AcknowledgeEventsResponse> answer) {
            acknowledged.add(request.getCursor());
            answer.onNext(AcknowledgeEventsResponse.getDefaultInstance());
            answer.onCompleted();
        }
    }
}
