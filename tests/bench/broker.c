/* What the broker alone costs: messages of one size published to a queue and confirmed, or consumed and acknowledged.
 *
 *   broker publish|consume HOST PORT QUEUE COUNT BYTES
 *
 * Prints the seconds that it took. As fast as a client can be: a window of unconfirmed messages, acknowledged in
 * blocks, in C. The queue is declared beforehand, by whoever runs this.
 */
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/tcp_socket.h>
#else /* before 0.13: Debian 12 */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WINDOW = 1000, BLOCK = 100 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void check(int is_right, const char *what) {
  if (!is_right) {
    fprintf(stderr, "broker.c: %s failed\n", what);
    exit(1);
  }
}

static void check_reply(amqp_rpc_reply_t reply, const char *what) { check(reply.reply_type == AMQP_RESPONSE_NORMAL, what); }

/* Read what the broker has to say of the messages so far: how many of them it has confirmed. */
static uint64_t read_confirm(amqp_connection_state_t link) {
  amqp_frame_t frame;
  check(amqp_simple_wait_frame(link, &frame) == AMQP_STATUS_OK, "waiting for a confirm");
  check(frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD, "a confirm");
  amqp_basic_ack_t *ack = frame.payload.method.decoded;
  return ack->delivery_tag;
}

static void publish(amqp_connection_state_t link, const char *queue, uint64_t count, size_t size) {
  char *body = malloc(size);
  check(body != NULL, "malloc");
  memset(body, 'x', size);
  amqp_bytes_t bytes = {size, body};
  amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 2};
  amqp_confirm_select(link, 1);
  check_reply(amqp_get_rpc_reply(link), "confirm.select");
  uint64_t confirmed = 0, most = size > 10000 ? 16 : WINDOW;
  for (uint64_t sent = 1; sent <= count; sent++) {
    int status = amqp_basic_publish(link, 1, amqp_empty_bytes, amqp_cstring_bytes(queue), 1, 0, &properties, bytes);
    check(status == AMQP_STATUS_OK, "basic.publish");
    while (sent - confirmed >= most) confirmed = read_confirm(link);
  }
  while (confirmed < count) confirmed = read_confirm(link);
  free(body);
}

static void consume(amqp_connection_state_t link, const char *queue, uint64_t count, size_t size) {
  amqp_basic_qos(link, 1, 0, size > 10000 ? 16 : 2 * WINDOW, 0);
  check_reply(amqp_get_rpc_reply(link), "basic.qos");
  amqp_basic_consume(link, 1, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  check_reply(amqp_get_rpc_reply(link), "basic.consume");
  uint64_t block = size > 10000 ? 4 : BLOCK;
  for (uint64_t got = 1; got <= count; got++) {
    amqp_envelope_t envelope;
    amqp_maybe_release_buffers(link);
    check_reply(amqp_consume_message(link, &envelope, NULL, 0), "consuming");
    if (got % block == 0 || got == count) amqp_basic_ack(link, 1, envelope.delivery_tag, 1);
    amqp_destroy_envelope(&envelope);
  }
}

int main(int argc, char **argv) {
  check(argc == 7, "the command line");
  amqp_connection_state_t link = amqp_new_connection();
  check(amqp_socket_open(amqp_tcp_socket_new(link), argv[2], atoi(argv[3])) == AMQP_STATUS_OK, "connecting");
  check_reply(amqp_login(link, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"), "login");
  amqp_channel_open(link, 1);
  check_reply(amqp_get_rpc_reply(link), "channel.open");
  double began = now();
  void (*work)(amqp_connection_state_t, const char *, uint64_t, size_t) = strcmp(argv[1], "publish") ? consume : publish;
  work(link, argv[4], strtoull(argv[5], NULL, 10), strtoul(argv[6], NULL, 10));
  printf("%.6f\n", now() - began);
  amqp_channel_close(link, 1, AMQP_REPLY_SUCCESS);
  amqp_connection_close(link, AMQP_REPLY_SUCCESS);
  amqp_destroy_connection(link);
  return 0;
}
