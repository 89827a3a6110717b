import type { Activation, EncoderShape, Family } from "../native/types.js";
import type { ConfigFields } from "./config-fields.js";

/** What config.json says of an encoder, beside its head. */
type Encoder = Omit<EncoderShape, "family" | "outputs" | "problem">;

/** How one `model_type` of transformers is read. A further one is a further entry. */
export interface ModelType {
  family: Family;
  /** transformers' class with a head for sequence classification. */
  architecture: string;
  /** The key that counts the encoder's blocks, for messages. */
  layersKey: string;
  /** Standard deviation of the normal distribution that new weights are drawn from. */
  initializerKey: string;
  /** @throws CheckpointError for a value that is out of range, or a switch that is not supported. */
  read: (fields: ConfigFields) => Encoder;
}

const maxLayers = 1024;

/** XLNet has no table of positions; this is as far as a key of attention's masks counts. */
const maxDistance = 2 ** 16;

/** transformers' names; "gelu_fast" is the tanh form with its constants multiplied out. */
const activations: Record<string, Activation> = {
  gelu: "gelu",
  gelu_python: "gelu",
  gelu_new: "gelu_tanh",
  gelu_fast: "gelu_tanh",
  gelu_pytorch_tanh: "gelu_tanh",
  relu: "relu",
};

/** What most families share. */
const plain = { decoder: null, positionOffset: 0, embeddingScale: 1, activationDropout: 0 } as const;

function readBert(fields: ConfigFields): Encoder {
  fields.only("position_embedding_type", "absolute");
  const { hiddenSize, heads } = fields.headsOf("hidden_size", "num_attention_heads");
  const hiddenDropout = fields.probability("hidden_dropout_prob", 0.1);
  return {
    ...plain,
    vocabularySize: fields.size("vocab_size"),
    embeddingSize: hiddenSize,
    hiddenSize,
    layers: fields.size("num_hidden_layers", { max: maxLayers }),
    heads,
    intermediateSize: fields.size("intermediate_size"),
    maxPositions: fields.size("max_position_embeddings", { fallback: 512 }),
    segmentTypes: fields.size("type_vocab_size", { fallback: 2 }),
    layerNormEps: fields.positive("layer_norm_eps", 1e-12),
    activation: fields.choice("hidden_act", "gelu", activations, "activation"),
    hiddenDropout,
    attentionDropout: fields.probability("attention_probs_dropout_prob", 0.1),
    classifierDropout: fields.probability("classifier_dropout", hiddenDropout),
  };
}

/** Its table of positions begins with rows for padding. */
function readRoberta(fields: ConfigFields): Encoder {
  const positionOffset = fields.index("pad_token_id", 1) + 1;
  const rows = fields.size("max_position_embeddings", { fallback: 512 });
  return { ...readBert(fields), positionOffset, maxPositions: Math.max(1, rows - positionOffset) };
}

function readElectra(fields: ConfigFields): Encoder {
  return { ...readBert(fields), embeddingSize: fields.size("embedding_size", { fallback: 128 }) };
}

function readDistilbert(fields: ConfigFields): Encoder {
  const { hiddenSize, heads } = fields.headsOf("dim", "n_heads");
  return {
    ...plain,
    vocabularySize: fields.size("vocab_size"),
    embeddingSize: hiddenSize,
    hiddenSize,
    layers: fields.size("n_layers", { max: maxLayers }),
    heads,
    intermediateSize: fields.size("hidden_dim"),
    maxPositions: fields.size("max_position_embeddings", { fallback: 512 }),
    segmentTypes: 0,
    layerNormEps: 1e-12,
    activation: fields.choice("activation", "gelu", activations, "activation"),
    hiddenDropout: fields.probability("dropout", 0.1),
    attentionDropout: fields.probability("attention_dropout", 0.1),
    classifierDropout: fields.probability("seq_classif_dropout", 0.2),
  };
}

function readXlnet(fields: ConfigFields): Encoder {
  fields.only("attn_type", "bi");
  fields.only("bi_data", false);
  fields.only("same_length", false);
  fields.only("clamp_len", -1);
  fields.only("summary_type", "last");
  fields.only("summary_use_proj", true);
  fields.only("summary_activation", "tanh");
  const { hiddenSize, heads } = fields.headsOf("d_model", "n_head");
  const dropout = fields.probability("dropout", 0.1);
  return {
    ...plain,
    vocabularySize: fields.size("vocab_size"),
    embeddingSize: hiddenSize,
    hiddenSize,
    layers: fields.size("n_layer", { max: maxLayers }),
    heads,
    intermediateSize: fields.size("d_inner"),
    maxPositions: maxDistance,
    segmentTypes: 0,
    layerNormEps: fields.positive("layer_norm_eps", 1e-12),
    activation: fields.choice("ff_activation", "gelu", activations, "activation"),
    hiddenDropout: dropout,
    attentionDropout: dropout,
    activationDropout: dropout,
    classifierDropout: fields.probability("summary_last_dropout", 0.1),
  };
}

/** Rows of its tables of positions that stand before that of the first token, whatever the padding id is. */
const bartPositionOffset = 2;

function readBart(fields: ConfigFields): Encoder {
  for (const key of ["normalize_before", "add_final_layer_norm", "static_position_embeddings"]) fields.only(key, false);
  fields.only("normalize_embedding", true);
  fields.only("encoder_layerdrop", 0);
  fields.only("decoder_layerdrop", 0);
  const { hiddenSize, heads } = fields.headsOf("d_model", "encoder_attention_heads");
  return {
    vocabularySize: fields.size("vocab_size"),
    embeddingSize: hiddenSize,
    hiddenSize,
    layers: fields.size("encoder_layers", { max: maxLayers }),
    heads,
    intermediateSize: fields.size("encoder_ffn_dim"),
    decoder: {
      layers: fields.size("decoder_layers", { max: maxLayers }),
      heads: fields.headsOf("d_model", "decoder_attention_heads").heads,
      intermediateSize: fields.size("decoder_ffn_dim"),
      startId: fields.index("decoder_start_token_id", 2),
    },
    maxPositions: fields.size("max_position_embeddings", { fallback: 1024 }),
    positionOffset: bartPositionOffset,
    segmentTypes: 0,
    embeddingScale: fields.flag("scale_embedding") ? Math.sqrt(hiddenSize) : 1,
    layerNormEps: 1e-5,
    activation: fields.choice("activation_function", "gelu", activations, "activation"),
    hiddenDropout: fields.probability("dropout", 0.1),
    attentionDropout: fields.probability("attention_dropout", 0),
    activationDropout: fields.probability("activation_dropout", 0),
    classifierDropout: fields.probability("classifier_dropout", 0),
  };
}

const bertKeys = { layersKey: "num_hidden_layers", initializerKey: "initializer_range" } as const;

/** By the `model_type` of config.json. */
export const modelTypes: Readonly<Record<string, ModelType>> = {
  bert: { family: "bert", architecture: "BertForSequenceClassification", ...bertKeys, read: readBert },
  roberta: { family: "roberta", architecture: "RobertaForSequenceClassification", ...bertKeys, read: readRoberta },
  "xlm-roberta": {
    family: "roberta",
    architecture: "XLMRobertaForSequenceClassification",
    ...bertKeys,
    read: readRoberta,
  },
  electra: { family: "electra", architecture: "ElectraForSequenceClassification", ...bertKeys, read: readElectra },
  distilbert: {
    family: "distilbert",
    architecture: "DistilBertForSequenceClassification",
    layersKey: "n_layers",
    initializerKey: "initializer_range",
    read: readDistilbert,
  },
  xlnet: {
    family: "xlnet",
    architecture: "XLNetForSequenceClassification",
    layersKey: "n_layer",
    initializerKey: "initializer_range",
    read: readXlnet,
  },
  bart: {
    family: "bart",
    architecture: "BartForSequenceClassification",
    layersKey: "encoder_layers",
    initializerKey: "init_std",
    read: readBart,
  },
};
