"""What the configurations of deblurrers share that can carry an estimator of their own."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig

from .configuration_etraj import EtrajConfig

# Fields of a saved configuration that are not the carried model's: the one that carries it has its own.
NOT_OF_THE_CARRIED = ("transformers_version", "architectures", "dtype", "auto_map")


class CarriedEstimatorMixin:
    """A configuration with the field `estimator_config`; put it before the transformers class.

    It must define `_check_values`, which is called once all fields have their types.
    """

    tuple_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that are tuples, which JSON does not know."""

    estimator_config: dict | PreTrainedConfig | None

    def __post_init__(self, **kwargs: Any) -> None:
        for name in self.tuple_fields:
            if isinstance(getattr(self, name), list):
                setattr(self, name, tuple(getattr(self, name)))
        if isinstance(self.estimator_config, dict):
            self.estimator_config = EtrajConfig(**self.estimator_config)
        self._check_values()
        super().__post_init__(**kwargs)  # type: ignore[misc]

    def to_diff_dict(self) -> dict[str, Any]:
        """What `config.json` holds; of the estimator, only what describes it, not where its weights came from."""
        written = super().to_diff_dict()  # type: ignore[misc]
        if isinstance(self.estimator_config, PreTrainedConfig):
            written["estimator_config"] = without_origin(self.estimator_config.to_diff_dict())
        return written

    def _check_values(self) -> None:
        raise NotImplementedError


def without_origin(fields: dict[str, Any]) -> dict[str, Any]:
    """A carried model's fields without those that say where its weights came from."""
    return {name: value for name, value in fields.items() if name not in NOT_OF_THE_CARRIED}


__all__ = ["CarriedEstimatorMixin", "without_origin"]
